package text

import "strings"

// Nearest returns the known key that was probably meant: one that differs in few
// letters, or has the same name in another table. It is empty if nothing is close.
func Nearest(key string, known []string) string {
	const mostNames = 64 // letters in our names, and some more
	if len(key) > mostNames {
		return ""
	}
	best, least := "", 2+len(lastName(key))/4
	for _, name := range known {
		// A name in the wrong table counts as one wrong letter.
		d := min(distance(key, name), 1+distance(lastName(key), lastName(name)))
		if d < least {
			best, least = name, d
		}
	}
	return best
}

func lastName(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// distance counts the bytes to insert, remove or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0] // in the previous row, as row[j+1] until that is replaced
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
