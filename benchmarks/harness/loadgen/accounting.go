package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// spent is the CPU time of some processes: by thread in nanoseconds, as the scheduler counts
// it, and in clock ticks (10 ms), which also know of threads that have ended.
type spent struct {
	threads map[string]int64
	ticks   int64
	procs   int64
}

// since returns milliseconds. Ticks are believed only where threads that ended must have
// spent more than ticks are coarse.
func (s spent) since(before spent) float64 {
	var ns int64
	for thread, now := range s.threads {
		ns += now - before.threads[thread]
	}
	exact, coarse := float64(ns)/1e6, float64(s.ticks-before.ticks)*10 // USER_HZ is 100
	if coarse > exact+20*float64(s.procs)+0.02*exact {
		return coarse
	}
	return exact
}

func cpuOf(pids []int) (s spent) {
	s.threads = map[string]int64{}
	for _, id := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		if err != nil {
			continue
		}
		s.procs++
		fl := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, f := range fl[11:13] { // user, system
			t, _ := strconv.ParseInt(f, 10, 64)
			s.ticks += t
		}
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/schedstat", id))
		for _, f := range tasks {
			if b, err := os.ReadFile(f); err == nil {
				s.threads[f], _ = strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
			}
		}
	}
	return
}

// procs is what was read of the measured tree, and of the one beside it.
type procs struct {
	own, beside  spent
	rssKB, pssKB int64
}

func tree(root int) []int {
	kids := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		i := bytes.LastIndexByte(b, ')')
		fl := strings.Fields(string(b[i+1:]))
		p, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		pp, _ := strconv.Atoi(fl[1])
		kids[pp] = append(kids[pp], p)
	}
	out := []int{root}
	for i := 0; i < len(out); i++ {
		out = append(out, kids[out[i]]...)
	}
	return out
}

func account(root, beside int) (p procs) {
	mine := tree(root)
	p.own = cpuOf(mine)
	for _, id := range mine {
		p.rssKB += kbField(fmt.Sprintf("/proc/%d/status", id), "VmRSS:")
		p.pssKB += kbField(fmt.Sprintf("/proc/%d/smaps_rollup", id), "Pss:")
	}
	if beside > 0 {
		known := map[int]bool{}
		for _, id := range mine {
			known[id] = true
		}
		var others []int
		for _, id := range tree(beside) {
			if !known[id] {
				others = append(others, id)
			}
		}
		p.beside = cpuOf(others)
	}
	return
}

func kbField(file, key string) int64 {
	b, _ := os.ReadFile(file)
	for _, l := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(l, key) {
			v, _ := strconv.ParseInt(strings.Fields(l)[1], 10, 64)
			return v
		}
	}
	return 0
}

// cpuBusy returns busy and total ticks for each CPU from /proc/stat.
func cpuBusy() (busy, total []int64) {
	b, _ := os.ReadFile("/proc/stat")
	for _, l := range strings.Split(string(b), "\n") {
		f := strings.Fields(l)
		if len(f) < 8 || !strings.HasPrefix(f[0], "cpu") || f[0] == "cpu" {
			continue
		}
		var t, idle int64
		for i, v := range f[1:9] {
			x, _ := strconv.ParseInt(v, 10, 64)
			t += x
			if i == 3 || i == 4 {
				idle += x
			}
		}
		busy, total = append(busy, t-idle), append(total, t)
	}
	return
}
