"""Pure selection and health rules: which account serves a request, and why."""
