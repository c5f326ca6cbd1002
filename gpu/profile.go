package gpu

import "encoding/json"

// profileOf returns an application profile of NVIDIA's driver that lets every program
// see the GPUs in the mask: bit n stands for /dev/nvidia<n>.
func profileOf(mask uint64) string {
	type profile struct {
		Name     string `json:"name"`
		Settings []any  `json:"settings"`
	}
	type rule struct {
		Pattern []string `json:"pattern"`
		Profile string   `json:"profile"`
	}
	const name = "ocishim"
	data, err := json.Marshal(map[string]any{
		"profiles": []profile{{name, []any{"EGLVisibleDGPUDevices", mask}}},
		"rules":    []rule{{[]string{}, name}},
	})
	if err != nil {
		return "{}" // cannot happen: strings and numbers always encode
	}
	return string(data)
}
