package image

import "fmt"

// A Pull says when a registry is asked for an image.
type Pull string

// The policies, as users write them.
const (
	PullMissing Pull = "missing" // only if no store has the image; the default
	PullAlways  Pull = "always"  // once per job
	PullNever   Pull = "never"   // an image that no store has is an error
)

// PullVariable is the variable of a user's job, or of the shell that submits it, that chooses the
// policy.
const PullVariable = "OCISHIM_PULL"

// ParsePull reads a policy; by names its source, for the error. An empty word is the default.
func ParsePull(word, by string) (Pull, error) {
	switch p := Pull(word); p {
	case "":
		return PullMissing, nil
	case PullMissing, PullAlways, PullNever:
		return p, nil
	}
	return "", fmt.Errorf("%s %q: choose %s, %s or %s", by, word, PullMissing, PullAlways, PullNever)
}
