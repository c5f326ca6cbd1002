package gpu

import (
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// cuda126 is NVIDIA_REQUIRE_CUDA of CUDA's images, shortened.
const cuda126 = "cuda>=12.6 brand=unknown,driver>=470,driver<471 brand=tesla,driver>=470,driver<471 brand=nvidia,driver>=550,driver<551 brand=geforce,driver>=550,driver<551"

func TestRequirements(t *testing.T) {
	tests := map[string]struct{ driver, model, env, refusal string }{
		"new enough":                {"560.28.03", "", "NVIDIA_REQUIRE_CUDA=" + cuda126, ""},
		"by brand":                  {"550.54.15", "NVIDIA H100 80GB HBM3", "NVIDIA_REQUIRE_CUDA=" + cuda126, ""},
		"another brand":             {"550.54.15", "Tesla V100-SXM2-32GB", "NVIDIA_REQUIRE_CUDA=" + cuda126, "NVIDIA_REQUIRE_CUDA=\"cuda>=12.6 brand=unknown"},
		"Tesla":                     {"470.57.02", "Tesla V100-SXM2-32GB", "NVIDIA_REQUIRE_CUDA=" + cuda126, ""},
		"GeForce":                   {"550.54.15", "NVIDIA GeForce GTX 1080", "NVIDIA_REQUIRE_CUDA=" + cuda126, ""},
		"GeForce RTX":               {"550.54.15", "NVIDIA GeForce RTX 3090", "NVIDIA_REQUIRE_CUDA=" + cuda126, "brand geforcertx"},
		"too old":                   {"535.54.03", "", "NVIDIA_REQUIRE_CUDA=cuda>=12.4", "NVIDIA_REQUIRE_CUDA=cuda>=12.4 is not met: the host has driver 535.54.03, cuda 12.2"},
		"switched off":              {"535.54.03", "", "NVIDIA_REQUIRE_CUDA=cuda>=12.4 NVIDIA_DISABLE_REQUIRE=1", ""},
		"driver":                    {"535.54.03", "", "NVIDIA_REQUIRE_X=driver>=535.54.4", "NVIDIA_REQUIRE_X=driver>=535.54.4 is not met"},
		"driver fits":               {"535.54.03", "", "NVIDIA_REQUIRE_X=driver>=535.54.3", ""},
		"arch":                      {"550.54.15", "", "NVIDIA_REQUIRE_ARCH=arch>=9.0", "arch 8.0"},
		"arch fits":                 {"550.54.15", "", "NVIDIA_REQUIRE_ARCH=arch>=7.5,arch<9.0", ""},
		"brand not":                 {"550.54.15", "", "NVIDIA_REQUIRE_B=brand!=nvidia", "is not met"},
		"all variables":             {"550.54.15", "", "NVIDIA_REQUIRE_A=cuda>=11.0 NVIDIA_REQUIRE_B=cuda>=13.0", "NVIDIA_REQUIRE_B=cuda>=13.0"},
		"unknown property":          {"550.54.15", "", "NVIDIA_REQUIRE_A=memory>=80", ""},
		"jetpack":                   {"550.54.15", "", "NVIDIA_REQUIRE_JETPACK=csv-mounts=all", ""},
		"future branch":             {"999.1", "", "NVIDIA_REQUIRE_CUDA=cuda>=20.0", ""},
		"legacy":                    {"375.51", "", "CUDA_VERSION=9.0.176", "CUDA_VERSION=cuda>=9.0 is not met"},
		"legacy fits":               {"384.81", "", "CUDA_VERSION=9.0.176", ""},
		"legacy with a requirement": {"375.51", "", "CUDA_VERSION=9.0.176 NVIDIA_REQUIRE_CUDA=cuda>=8.0", ""},
		"no condition":              {"550.54.15", "", "NVIDIA_REQUIRE_A=cuda", "cuda is not a condition such as"},
		"no version":                {"550.54.15", "", "NVIDIA_REQUIRE_A=cuda>=new", "new is not a version"},
		"no comparison":             {"550.54.15", "", "NVIDIA_REQUIRE_A=cuda=>12", "=> is not a comparison"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n := fakenode.New(t)
			n.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: test.driver, Model: test.model})
			var env []string
			for _, entry := range strings.SplitAfter(test.env, " ") {
				// Blanks within a value separate alternatives.
				if len(env) > 0 && !strings.HasPrefix(entry, "NVIDIA_") && !strings.HasPrefix(entry, "CUDA_") {
					env[len(env)-1] += entry
					continue
				}
				env = append(env, entry)
			}
			for i := range env {
				env[i] = strings.TrimSpace(env[i])
			}
			r := ask(t, n, append(env, "SLURM_STEP_GPUS=0")...)
			if test.refusal == "" {
				mustGive(t, r)
				return
			}
			says(t, refused(t, r), "check requirements of the image: ", test.refusal)
		})
	}
}

func TestBrands(t *testing.T) {
	for model, brand := range map[string]string{
		"": "", "NVIDIA A100-SXM4-80GB": "nvidia", "Tesla T4": "tesla", "NVIDIA RTX A6000": "nvidiartx", "Quadro RTX 8000": "quadrortx",
		"Quadro P400": "quadro", "NVIDIA TITAN RTX": "titanrtx", "TITAN V": "titan", "GRID K2": "grid",
	} {
		wants(t, model, brandOf(model), brand)
	}
}
