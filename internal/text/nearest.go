package text

import "strings"

// Nearest returns which of the known keys was meant: one that differs in few letters,
// or the same name in another table. It is empty where there is none.
func Nearest(key string, known []string) string {
	const mostNames = 64 // letters in a name of ours, and some
	if len(key) > mostNames {
		return ""
	}
	best, least := "", 2+len(lastName(key))/4
	for _, name := range known {
		// A name in the wrong table is as wrong as one letter.
		d := min(distance(key, name), 1+distance(lastName(key), lastName(name)))
		if d < least {
			best, least = name, d
		}
	}
	return best
}

func lastName(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// distance counts the bytes to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0] // of the row before, as row[j+1] until it is replaced
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
