package gpu

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

const requirePrefix = "NVIDIA_REQUIRE_"

// legacyImage reports whether this is an old CUDA image that names only its CUDA
// version, not its requirements.
func (p *plan) legacyImage() bool {
	return p.env["CUDA_VERSION"] != "" && p.env[requirePrefix+"CUDA"] == ""
}

// requirements checks the image's requirements: NVIDIA_REQUIRE_* hold alternatives
// separated by blanks, and each is a list of conditions separated by commas. A
// condition that only the driver's library could check is taken as met.
func (p *plan) requirements(cards []card, version string) error {
	if off, _ := strconv.ParseBool(p.env["NVIDIA_DISABLE_REQUIRE"]); off || version == "" {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		if strings.HasPrefix(name, requirePrefix) && !strings.HasPrefix(name, requirePrefix+"JETPACK") {
			if err := p.require(name, p.env[name], cards, version); err != nil {
				return err
			}
		}
	}
	if p.legacyImage() {
		major, rest, _ := strings.Cut(p.env["CUDA_VERSION"], ".")
		minor, _, _ := strings.Cut(rest, ".")
		return p.require("CUDA_VERSION", "cuda>="+major+"."+minor, cards, version)
	}
	return nil
}

// require checks one variable for every GPU.
func (p *plan) require(name, requirement string, cards []card, version string) error {
	if strings.TrimSpace(requirement) == "" {
		return nil
	}
	if len(cards) == 0 {
		cards = []card{{}}
	}
	for _, c := range cards {
		facts := p.facts(c, version)
		ok, err := fulfilled(requirement, facts)
		if err != nil {
			return fmt.Errorf("check requirements of the image: %s: %w", name, err)
		}
		if !ok {
			return fmt.Errorf("check requirements of the image: %s=%s is not met: %s; NVIDIA_DISABLE_REQUIRE=1 skips the check",
				name, text.Printable(requirement), describe(facts))
		}
	}
	return nil
}

// facts returns what conditions can refer to; an empty value is unknown.
func (p *plan) facts(c card, version string) map[string]string {
	return map[string]string{
		"driver": version,
		"cuda":   cudaOf(version),
		"brand":  brandOf(c.model),
		"arch":   p.archOf(c.bus),
	}
}

func describe(facts map[string]string) string {
	var known []string
	for _, name := range []string{"driver", "cuda", "brand", "arch"} {
		if facts[name] != "" {
			known = append(known, name+" "+facts[name])
		}
	}
	return "the host has " + strings.Join(known, ", ")
}

// fulfilled reports whether one of the alternatives holds.
func fulfilled(requirement string, facts map[string]string) (bool, error) {
	alternatives := strings.Fields(requirement)
	holds := false
	for _, alternative := range alternatives {
		all := true
		for condition := range strings.SplitSeq(alternative, ",") {
			ok, err := holdsOne(condition, facts)
			if err != nil {
				return false, err
			}
			all = all && ok
		}
		holds = holds || all
	}
	return holds, nil
}

// holdsOne evaluates a condition such as cuda>=12.4 or brand=tesla.
func holdsOne(condition string, facts map[string]string) (bool, error) {
	if condition == "" {
		return true, nil
	}
	at := strings.IndexAny(condition, "<>=!")
	if at <= 0 {
		return false, fmt.Errorf("%s is not a condition such as cuda>=12.4", text.Printable(condition))
	}
	name, rest := condition[:at], condition[at:]
	value := strings.TrimLeft(rest, "<>=!")
	operator := rest[:len(rest)-len(value)]
	fact, known := facts[name]
	var compared int
	if name == "brand" {
		compared = strings.Compare(fact, value)
	} else {
		if strings.Trim(value, "0123456789.") != "" || value == "" {
			return false, fmt.Errorf("%s: %s is not a version", text.Printable(condition), text.Printable(value))
		}
		compared = host.CompareVersions(fact, value)
	}
	if !known || fact == "" {
		return true, nil
	}
	switch operator {
	case "=":
		return compared == 0, nil
	case "!=":
		return compared != 0, nil
	case "<":
		return compared < 0, nil
	case "<=":
		return compared <= 0, nil
	case ">":
		return compared > 0, nil
	case ">=":
		return compared >= 0, nil
	}
	return false, fmt.Errorf("%s: %s is not a comparison", text.Printable(condition), text.Printable(operator))
}

// cudaOf returns the CUDA version of a driver branch, by NVIDIA's table of CUDA
// toolkits and drivers. It is empty for a branch newer than the table.
func cudaOf(version string) string {
	branches := []struct {
		first string
		cuda  string
	}{
		{"595", ""},
		{"590", "13.1"},
		{"580", "13.0"},
		{"575", "12.9"},
		{"570", "12.8"},
		{"565", "12.7"},
		{"560", "12.6"},
		{"555", "12.5"},
		{"550", "12.4"},
		{"545", "12.3"},
		{"535", "12.2"},
		{"530", "12.1"},
		{"525", "12.0"},
		{"520", "11.8"},
		{"515", "11.7"},
		{"510", "11.6"},
		{"495", "11.5"},
		{"470", "11.4"},
		{"465", "11.3"},
		{"460", "11.2"},
		{"455", "11.1"},
		{"450", "11.0"},
		{"440", "10.2"},
		{"418", "10.1"},
		{"410", "10.0"},
		{"396", "9.2"},
		{"390", "9.1"},
		{"384", "9.0"},
		{"375", "8.0"},
		{"352", "7.5"},
		{"0", "7.0"},
	}
	for _, b := range branches {
		if host.CompareVersions(version, b.first) >= 0 {
			return b.cuda
		}
	}
	return ""
}

// brandOf returns the brand of a GPU in the toolkit's words, from its model name.
func brandOf(model string) string {
	model = strings.TrimPrefix(model, "NVIDIA ")
	for _, b := range []struct{ prefix, brand string }{
		{"GeForce RTX", "geforcertx"},
		{"GeForce", "geforce"},
		{"Quadro RTX", "quadrortx"},
		{"Quadro", "quadro"},
		{"TITAN RTX", "titanrtx"},
		{"TITAN", "titan"},
		{"Tesla", "tesla"},
		{"RTX", "nvidiartx"},
		{"GRID", "grid"},
		{"NVS", "nvs"},
	} {
		if strings.HasPrefix(strings.ToLower(model), strings.ToLower(b.prefix)) {
			return b.brand
		}
	}
	if model == "" {
		return ""
	}
	return "nvidia"
}

// archOf returns the compute capability of a GPU, by the family of its PCI device id;
// empty if unknown.
func (p *plan) archOf(bus string) string {
	if bus == "" {
		return ""
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(p.Host.ReadLine("/sys/bus/pci/devices/"+bus+"/device"), "0x"), 16, 16)
	if err != nil {
		return ""
	}
	families := []struct {
		first, last uint64
		arch        string
	}{
		{0x1340, 0x13ff, "5.2"},
		{0x15f0, 0x15ff, "6.0"},
		{0x1b00, 0x1d7f, "6.1"},
		{0x1db0, 0x1dff, "7.0"},
		{0x1e00, 0x1fff, "7.5"},
		{0x2080, 0x20ff, "8.0"},
		{0x2180, 0x21ff, "7.5"},
		{0x2300, 0x237f, "9.0"},
		{0x2200, 0x25ff, "8.6"},
		{0x2600, 0x28ff, "8.9"},
		{0x2900, 0x29ff, "10.0"},
		{0x2b80, 0x2dff, "12.0"},
	}
	for _, f := range families {
		if id >= f.first && id <= f.last {
			return f.arch
		}
	}
	return ""
}
