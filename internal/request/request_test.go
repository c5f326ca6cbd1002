package request

import (
	"reflect"
	"testing"
)

func TestRead(t *testing.T) {
	annotations := map[string]string{
		"org.ocishim.profile": "oci", "org.ocishim.mpi": "own",
		"org.ocishim.gpu.isolate": "true", "org.ocishim.gpu.capabilities": "video", "com.example.gpu.order": "x",
	}
	bundles := Request{
		Profile: Choice{"oci", "annotation org.ocishim.profile"}, Image: Choice{By: "annotation org.ocishim.image"}, Pull: Choice{By: "annotation org.ocishim.pull"}, MPI: Choice{"own", "annotation org.ocishim.mpi"},
		Settings: []Setting{
			{"gpu.capabilities", "video", "annotation org.ocishim.gpu.capabilities"},
			{"gpu.isolate", "true", "annotation org.ocishim.gpu.isolate"},
		},
	}
	if got, err := Read(annotations, nil); err != nil || !reflect.DeepEqual(got, bundles) {
		t.Errorf("of an engine: %+v, %v", got, err)
	}
	job := bundles
	job.MPI, job.Pull = Choice{"site", "OCISHIM_MPI"}, Choice{"never", "OCISHIM_PULL"}
	job.Settings = append(job.Settings[:2:2], Setting{"gpu.order", "file", "OCISHIM_GPU_ORDER"}, Setting{"gpu.cdi.devices", "", "OCISHIM_GPU_CDI_DEVICES"})
	env := []string{"PATH=/bin", "OCISHIM_PROFILE=", "OCISHIM_MPI=site", "OCISHIM_PULL=never", "OCISHIM_GPU_ORDER=file", "OCISHIM_TEST=1", "OCISHIM_EXPLAIN=1", "OCISHIM_GPU_CDI_DEVICES=", "GPU_ISOLATE=x"}
	if got, err := Read(annotations, env); err != nil || !reflect.DeepEqual(got, job) {
		t.Errorf("of a job: %+v, %v, want %+v", got, err, job)
	}
}

// A wrong word is refused in every source, even if the other source is right.
func TestReadMPI(t *testing.T) {
	for _, test := range []struct{ annotation, env, want string }{
		{"", "A=b", ""},
		{"own", "A=b", "own by annotation org.ocishim.mpi"},
		{"own", "OCISHIM_MPI=", "own by annotation org.ocishim.mpi"},
		{"own", "OCISHIM_MPI=site", "site by OCISHIM_MPI"},
		{"site", "OCISHIM_MPI=own", "own by OCISHIM_MPI"},
		{"onw", "OCISHIM_MPI=own", `annotation org.ocishim.mpi "onw": choose own or site`},
		{"own", "OCISHIM_MPI=sites", `OCISHIM_MPI "sites": choose own or site`},
	} {
		r, err := Read(map[string]string{"org.ocishim.mpi": test.annotation}, []string{test.env})
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case r.MPI.Value != "":
			got = r.MPI.Value + " by " + r.MPI.By
		}
		if got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.annotation, test.env, got, test.want)
		}
	}
}
