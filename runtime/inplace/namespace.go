package inplace

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// UserNamespaceLine begins the line of a step's file that records the user namespace of its tasks,
// by its inode.
const UserNamespaceLine = "userns "

// noteNamespace records the user namespace that this process made, and releases the lock: from here
// on others can join it.
func noteNamespace(step *os.File) error {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &st); err != nil {
		return fmt.Errorf("note user namespace: %w", err)
	}
	_, err := fmt.Fprintf(step, "%s%d\n", UserNamespaceLine, st.Ino)
	if cerr := step.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("note user namespace: %w", err)
	}
	return nil
}
