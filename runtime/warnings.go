package runtime

import (
	"strings"

	"github.com/sirupsen/logrus"
)

// DemandedKey is the field of warnings that the specification demands (runtime.md,
// Warnings): about a poststop hook that failed, or capabilities that cannot be granted.
const DemandedKey = "demanded"

// demanded logs such warnings.
func demanded() *logrus.Entry { return logrus.WithField(DemandedKey, true) }

// Demanded reports whether the specification demands the warning.
func Demanded(e *logrus.Entry) bool {
	if e.Data[DemandedKey] != nil {
		return true
	}
	// libcontainer's own warnings about capabilities (libcontainer/capabilities).
	for _, beginning := range []string{"ignoring unknown or unavailable capabilities: ", "can't raise ambient capability "} {
		if strings.HasPrefix(e.Message, beginning) {
			return true
		}
	}
	return false
}
