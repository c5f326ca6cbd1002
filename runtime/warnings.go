package runtime

import (
	"strings"

	"github.com/sirupsen/logrus"
)

// DemandedKey is the field of a warning that the specification demands (runtime.md,
// Warnings): of a poststop hook that failed, and of capabilities that cannot be had.
const DemandedKey = "demanded"

// demanded logs such warnings.
func demanded() *logrus.Entry { return logrus.WithField(DemandedKey, true) }

// Demanded reports whether the specification demands the warning.
func Demanded(e *logrus.Entry) bool {
	if e.Data[DemandedKey] != nil {
		return true
	}
	// libcontainer's about capabilities (libcontainer/capabilities).
	for _, beginning := range []string{"ignoring unknown or unavailable capabilities: ", "can't raise ambient capability "} {
		if strings.HasPrefix(e.Message, beginning) {
			return true
		}
	}
	return false
}
