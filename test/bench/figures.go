package main

import (
	"fmt"
	"slices"
	"time"
)

// A spread is the median of a set of figures, and their quartiles.
type spread struct{ low, median, high float64 }

// spreadOf returns the quartiles of the figures.
func spreadOf(figures []float64) spread {
	sorted := slices.Sorted(slices.Values(figures))
	return spread{quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)}
}

// quantile returns a quantile of sorted figures, interpolated between the two nearest.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// A figure is the value that a column shows for a sample.
type figure func(sample) float64

func wall(s sample) float64   { return milliseconds(s.wall) }
func cpu(s sample) float64    { return milliseconds(s.cpu) }
func memory(s sample) float64 { return float64(s.memory) / 1024 }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// of returns the spread of the contestant's figures.
func (r *results) of(name string, f figure) spread {
	var figures []float64
	for _, s := range r.samples[name] {
		figures = append(figures, f(s))
	}
	return spreadOf(figures)
}

// ratio returns the spread of the ratios to another contestant, round by round: other load affects
// both.
func (r *results) ratio(name, to string, f figure) spread {
	var ratios []float64
	for i, s := range r.samples[name] {
		if others := r.samples[to]; i < len(others) && f(others[i]) > 0 {
			ratios = append(ratios, f(s)/f(others[i]))
		}
	}
	return spreadOf(ratios)
}

// String returns the median, with the quartiles beside it.
func (s spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", digits(s.median), digits(s.low), digits(s.high))
}

// digits prints three significant digits.
func digits(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}
