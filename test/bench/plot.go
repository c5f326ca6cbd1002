package main

import (
	"bytes"
	"fmt"
	"html"
)

// Sizes of the plot, in pixels.
const (
	plotWidth  = 760
	labelWidth = 170
	barsWidth  = 470
	rowHeight  = 24
	headHeight = 34
)

// plot draws the scenarios as an SVG: for each contestant a bar for the wall-clock time, with a
// line from quartile to quartile, and a bar for the CPU time.
func plot(all []*results) []byte {
	var rows bytes.Buffer
	y := 40
	for _, r := range all {
		y = r.plot(&rows, y)
	}
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, y)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, y)
	legend(&svg, labelWidth, "#9ec5e8", "wall clock (line: quartiles)")
	legend(&svg, labelWidth+210, "#1f5f99", "CPU time of all processes")
	svg.Write(rows.Bytes())
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

func legend(w *bytes.Buffer, x int, colour, text string) {
	fmt.Fprintf(w, `<rect x="%d" y="14" width="12" height="12" fill="%s"/><text x="%d" y="24">%s</text>`+"\n", x, colour, x+18, text)
}

// plot draws one scenario below y, and returns where it ends.
func (r *results) plot(w *bytes.Buffer, y int) int {
	longest := 0.0
	for _, name := range r.names {
		longest = max(longest, r.of(name, wall).high, r.of(name, cpu).median)
	}
	if longest == 0 {
		return y
	}
	scale := barsWidth / longest
	fmt.Fprintf(w, `<text x="12" y="%d" font-weight="bold">%s</text>`+"\n", y+20, html.EscapeString(plain(r.scenario.title)))
	y += headHeight
	for _, name := range r.names {
		clock, used := r.of(name, wall), r.of(name, cpu)
		fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+13, html.EscapeString(name))
		bar(w, y, clock.median*scale, 10, "#9ec5e8")
		bar(w, y+10, used.median*scale, 8, "#1f5f99")
		fmt.Fprintf(w, `<path d="M%.1f %d H%.1f" stroke="#333333"/>`+"\n", labelWidth+clock.low*scale, y+5, labelWidth+clock.high*scale)
		fmt.Fprintf(w, `<text x="%.1f" y="%d" fill="#555555">%s / %s ms</text>`+"\n",
			labelWidth+max(clock.high, used.median)*scale+6, y+13, digits(clock.median), digits(used.median))
		y += rowHeight
	}
	return y + 12
}

func bar(w *bytes.Buffer, y int, width float64, height int, colour string) {
	fmt.Fprintf(w, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y, width, height, colour)
}

// plain returns a title without markdown's marks.
func plain(title string) string {
	return string(bytes.ReplaceAll([]byte(title), []byte("`"), nil))
}
