// Package spank tests the part of the plugin in spank/ that needs no Slurm. test/integration tests all
// of it on real Slurm.
package spank
