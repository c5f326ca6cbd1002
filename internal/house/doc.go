// Package house holds the rules of this repository that a compiler does not check, as tests: which
// packages may never import each other and why, what our code never does, and what the binary must
// be. It contains no other code.
package house
