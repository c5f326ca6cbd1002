package bundle

// A Layer takes what a container changes in its root file system, and hides what it removes there.
// The container sees both as one; the root file system itself stays as it is. It lives as long as
// the container, and no other container has it.
type Layer struct {
	// Dir is a directory of the host in which the layer has its own directory. If it is empty, the
	// layer is in memory.
	Dir string `json:"dir,omitempty"`

	// Size limits a layer in memory, in the words of tmpfs(5): such as 12% or 2g.
	Size string `json:"size,omitempty"`

	// By is the source of the wish for it, for messages.
	By string `json:"by,omitempty"`

	// Optional says that the container is launched without the layer if its launcher has none.
	Optional bool `json:"optional,omitempty"`
}

// String describes the layer for people.
func (l *Layer) String() string {
	if l.Dir != "" {
		return "disk " + l.Dir
	}
	return "tmpfs " + l.Size
}

func (l *Layer) clone() *Layer {
	if l == nil {
		return nil
	}
	c := *l
	return &c
}
