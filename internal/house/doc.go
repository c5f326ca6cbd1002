// Package house holds the rules of this repository that a compiler does not
// check, as tests: who may never import whom and why, what our code never does,
// and what the binary must be. It has no code of its own.
package house
