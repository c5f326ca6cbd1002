package inplace

// #include "restrict.h"
import "C" // restrict.c

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// restrictOthers limits the other threads of this process, which Go made, to the sets, and sets
// no_new_privs on them if asked to.
func restrictOthers(sets [2]unix.CapUserData, noNewPrivs bool) error {
	var privileges C.int
	if noNewPrivs {
		privileges = 1
	}
	var data [2]C.struct___user_cap_data_struct
	for i, s := range sets {
		data[i].effective, data[i].permitted, data[i].inheritable = C.__u32(s.Effective), C.__u32(s.Permitted), C.__u32(s.Inheritable)
	}
	if done, err := C.ocishim_restrict_others((*C.struct___user_cap_data_struct)(unsafe.Pointer(&data[0])), privileges); done < 0 {
		return fmt.Errorf("limit capabilities of other threads: %w", err)
	}
	return nil
}
