// Package runtime is the life of a container: its state on disk, and the verbs
// create, start, run, state, kill and delete. It is the only user of
// libcontainer.
//
// Everything of one container lies in one directory of a Store, its entry,
// which appears and disappears by rename: a process of ours may be killed at
// any line, and what it leaves is either a whole entry or debris that the next
// call removes.
package runtime
