//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// lookScript prints what a task sees: device nodes, which of them it may use, and the variables.
const lookScript = `#!/bin/bash
for d in /dev/nvidia[0-9]*; do
	[ -c $d ] || continue
	there="$there ${d#/dev/nvidia}"
	[ -r $d ] && usable="$usable ${d#/dev/nvidia}"
done
cuda=none
type opens >/dev/null 2>&1 && cuda=$(opens libcuda.so.1)
echo "LOOK|$SLURMD_NODENAME $SLURM_PROCID|$there|$usable|${CUDA_VISIBLE_DEVICES//,/ }|${SLURM_STEP_GPUS-}${SLURM_JOB_GPUS-}|$cuda|"
`

// A look is what one task sees.
type look struct {
	task                string
	there, usable, cuda []int // minors, minors, indices
	slurm               string
	driver              string
}

// looks parses the output of a job, by task.
func looks(t *testing.T, output string) []look {
	t.Helper()
	var all []look
	for _, m := range regexp.MustCompile(`LOOK\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|`).FindAllStringSubmatch(output, -1) {
		l := look{task: m[1], slurm: m[5], driver: m[6]}
		for i, numbers := range []*[]int{&l.there, &l.usable, &l.cuda} {
			for _, word := range strings.Fields(m[2+i]) {
				n, err := strconv.Atoi(word)
				if err != nil {
					t.Fatalf("%q is no number, in %s", word, output)
				}
				*numbers = append(*numbers, n)
			}
		}
		slices.Sort(l.there)
		slices.Sort(l.usable)
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b look) int { return strings.Compare(a.task, b.task) })
	return all
}

// means returns the GPUs that the indices mean, counted among the given ones.
func (l look) means(counted []int) (minors []int, err error) {
	for _, i := range l.cuda {
		if i >= len(counted) {
			return nil, fmt.Errorf("index %d of %v", i, counted)
		}
		minors = append(minors, counted[i])
	}
	slices.Sort(minors)
	return minors, nil
}
