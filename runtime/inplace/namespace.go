package inplace

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// UserNamespaceLine begins the line of a step's file that says which namespace its
// tasks share, by its inode.
const UserNamespaceLine = "userns "

// noteNamespace writes down which user namespace this process made, and lets the
// lock go: from here on others can join it.
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
