package inplace

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// WrongTmpfsOption returns the first option that tmpfs does not have, or not with that value
// (tmpfs(5)); empty if no mistake is known. For all of them the kernel only says EINVAL.
func WrongTmpfsOption(words []string) string {
	flags := options()
	for _, word := range words {
		name, value, has := strings.Cut(word, "=")
		if _, flag := flags[name]; flag && !has || refuseOption(name) != nil || propagations()[name] != 0 || word == "" {
			continue
		}
		switch name {
		case "size", "nr_blocks", "nr_inodes":
			if !isSize(value) {
				return word
			}
		case "mode":
			if _, err := strconv.ParseUint(value, 8, 12); err != nil {
				return word
			}
		case "uid", "gid":
			if _, err := strconv.ParseUint(value, 10, 32); err != nil {
				return word
			}
		case "huge":
			if !slices.Contains([]string{"never", "always", "within_size", "advise", "deny", "force"}, value) {
				return word
			}
		case "mpol", "inode32", "inode64", "noswap", "quota", "usrquota", "grpquota", "casefold", "strict_encoding", "context", "rootcontext", "fscontext", "defcontext":
		default:
			return word
		}
	}
	return ""
}

// isSize reports whether the value is a number with k, m, g, t, p, e or %.
func isSize(value string) bool {
	digits := strings.TrimRight(value, "kKmMgGtTpPeE%")
	_, err := strconv.ParseUint(digits, 0, 64)
	return err == nil && len(value)-len(digits) <= 1
}

// tmpfsMode adds the mode to the data of a tmpfs without one: the mode of the directory that it
// covers, as with libcontainer.
func tmpfsMode(data string, target descriptor) string {
	for word := range strings.SplitSeq(data, ",") {
		if strings.HasPrefix(word, "mode=") {
			return data
		}
	}
	st, err := target.stat()
	if err != nil {
		return data
	}
	mode := "mode=0" + strconv.FormatUint(uint64(st.Mode&0o7777), 8)
	if data == "" {
		return mode
	}
	return mode + "," + data
}

// MayRecurse reports whether the kernel can set flags on a mount and all mounts below it
// (mount_setattr(2), 5.12).
func MayRecurse() bool {
	return !errors.Is(mountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}), unix.ENOSYS)
}
