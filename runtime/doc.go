// Package runtime implements the life of a container: its state on disk, and the verbs
// create, start, run, state, kill and delete. It is the only user of libcontainer.
//
// Everything about a container is in one directory of a Store, its entry, which appears
// and disappears by rename. A process of ours may be killed at any line: it leaves either
// a complete entry, or remains that the next call removes.
package runtime
