package bundle

// MarshalJSON writes what the edit changes.
func (e Edit) MarshalJSON() ([]byte, error) { return MarshalFields(e) }
