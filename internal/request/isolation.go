package request

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// RootForce is the value of Request.RemapRoot that is not refused in a step whose MPI breaks.
const RootForce = "force"

// setRemapRoot keeps true, false or RootForce.
func (r *Request) setRemapRoot(value, by string) error {
	if strings.ToLower(value) == RootForce {
		r.RemapRoot = Choice{RootForce, by}
		return nil
	}
	c, err := truth(value, by)
	if err != nil {
		return fmt.Errorf("%w: choose true, false or %s", err, RootForce)
	}
	r.RemapRoot = c
	return nil
}

// namespaces are what a container can have of its own.
var namespaces = []string{"net", "ipc", "uts", "pid"}

// addUnshare keeps each word once.
func (r *Request) addUnshare(values []string, by string) error {
	for _, value := range strings.Split(strings.Join(values, ","), ",") { // an option has commas as well
		word := strings.ToLower(strings.TrimSpace(value))
		if !slices.Contains(namespaces, word) {
			err := fmt.Errorf("%s: unknown namespace %s: choose from %s", by, text.Quoted(value), strings.Join(namespaces, ", "))
			if near := text.Nearest(word, namespaces); near != "" {
				err = fmt.Errorf("%w: did you mean %s?", err, near)
			}
			return err
		}
		if !slices.ContainsFunc(r.Unshare, func(c Choice) bool { return c.Value == word }) {
			r.Unshare = append(r.Unshare, Choice{word, by})
		}
	}
	return nil
}

// devicePrefix begins the paths of device nodes.
const devicePrefix = "/dev/"

// addDevices adds names of CDI devices, which are checked by what provides them, and paths of device
// nodes.
func (r *Request) addDevices(values []string, by string) error {
	for _, value := range values {
		if strings.HasPrefix(value, "/") && (path.Clean(value) != value || !strings.HasPrefix(value, devicePrefix)) {
			return fmt.Errorf("%s: %s is not the path of a device node in /dev", by, text.Quoted(value))
		}
		if value == "" || strings.ContainsAny(value, "\x00\n") {
			return fmt.Errorf("%s: %s is not a device", by, text.Quoted(value))
		}
		list := &r.Devices
		if strings.HasPrefix(value, devicePrefix) {
			list = &r.DeviceNodes
		}
		if !slices.ContainsFunc(*list, func(c Choice) bool { return c.Value == value }) {
			*list = append(*list, Choice{value, by})
		}
	}
	return nil
}
