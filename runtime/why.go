package runtime

import "github.com/ocishim/ocishim/bundle"

// WhyNotInPlace says, for people, what sends the container to libcontainer; empty
// when it is launched in place. Nothing is launched.
func WhyNotInPlace(b *bundle.Bundle, o LaunchOptions) string { return whyNotInPlace(b, o) }
