package image

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

const (
	hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	sum   = "sha256:" + hex64
)

var site = Rules{Dir: "/job", Home: "/home/a"}

func TestParseReference(t *testing.T) {
	hub := func(repository, tag string) Reference {
		return Reference{Kind: KindRegistry, Registry: "docker.io", Repository: repository, Tag: tag}
	}
	short := func(repository, tag string) Reference {
		r := hub(repository, tag)
		r.Short = true
		return r
	}
	at := func(registry, repository, tag string) Reference {
		return Reference{Kind: KindRegistry, Registry: registry, Repository: repository, Tag: tag}
	}
	with := func(r Reference, change func(*Reference)) Reference {
		change(&r)
		return r
	}
	user := func(name string) func(*Reference) { return func(r *Reference) { r.User = name } }
	for s, want := range map[string]Reference{
		"@dev":                                {Kind: KindContainer, Name: "dev"},
		"ubuntu":                              {Kind: KindName, Name: "ubuntu"},
		"pytorch.sqsh":                        {Kind: KindName, Name: "pytorch.sqsh"},
		"ubuntu:22.04":                        short("library/ubuntu", "22.04"),
		"docker://ubuntu":                     short("library/ubuntu", "latest"),
		"docker:ubuntu:22.04":                 short("library/ubuntu", "22.04"),
		"nvidia/cuda":                         short("nvidia/cuda", "latest"),
		"docker.io/ubuntu":                    hub("library/ubuntu", "latest"),
		"index.docker.io/ubuntu":              hub("library/ubuntu", "latest"),
		"docker.io#ubuntu:1":                  hub("library/ubuntu", "1"),
		"nvcr.io/nvidia/pytorch:25.11-py3":    at("nvcr.io", "nvidia/pytorch", "25.11-py3"),
		"docker://NVCR.io#nvidia/pytorch:1":   at("nvcr.io", "nvidia/pytorch", "1"),
		"docker://registry#a/b":               at("registry", "a/b", "latest"),
		"localhost/x":                         at("localhost", "x", "latest"),
		"localhost:5000/x:1":                  at("localhost:5000", "x", "1"),
		"registry:5000/x":                     at("registry:5000", "x", "latest"),
		"[::1]:5000/x:1":                      at("[::1]:5000", "x", "1"),
		"a.b/c--d/e__f/g.h_i":                 at("a.b", "c--d/e__f/g.h_i", "latest"),
		"docker://$oauthtoken@nvcr.io/x/y:1":  with(at("nvcr.io", "x/y", "1"), user("$oauthtoken")),
		"a@b.org@quay.io/x/y":                 with(at("quay.io", "x/y", "latest"), user("a@b.org")),
		"u@ubuntu:1":                          with(short("library/ubuntu", "1"), user("u")),
		"quay.io/x@" + sum:                    with(at("quay.io", "x", ""), func(r *Reference) { r.Digest = sum }),
		"quay.io/x:1@" + sum:                  with(at("quay.io", "x", "1"), func(r *Reference) { r.Digest = sum }),
		"u@quay.io/x@" + sum:                  with(at("quay.io", "x", ""), func(r *Reference) { r.Digest, r.User = sum, "u" }),
		"oras://quay.io/x:1":                  with(at("quay.io", "x", "1"), func(r *Reference) { r.Kind = KindORAS }),
		"/a/../b":                             {Kind: KindPath, Path: "/b"},
		"./a b":                               {Kind: KindPath, Path: "/job/a b"},
		"..":                                  {Kind: KindPath, Path: "/"},
		"~/x.sqsh":                            {Kind: KindPath, Path: "/home/a/x.sqsh"},
		"oci:layout:v1":                       {Kind: KindLayout, Path: "/job/layout", Tag: "v1"},
		"oci:/l@" + sum:                       {Kind: KindLayout, Path: "/l", Digest: sum},
		"oci:/l":                              {Kind: KindLayout, Path: "/l"},
		"oci-archive:/a.tar:docker.io/x:1":    {Kind: KindOCIArchive, Path: "/a.tar", Tag: "docker.io/x:1"},
		"docker-archive:/a.tar.gz:x:1":        {Kind: KindDockerArchive, Path: "/a.tar.gz", Name: "x:1"},
		"archive:/a.tar":                      {Kind: KindArchive, Path: "/a.tar"},
		"dir:/d":                              {Kind: KindDirectory, Path: "/d"},
		"docker-daemon:x:1":                   {Kind: KindDockerDaemon, Name: "x:1"},
		"dockerd://x:1":                       {Kind: KindDockerDaemon, Name: "x:1"},
		"containers-storage:localhost/x:1":    {Kind: KindContainersStorage, Name: "localhost/x:1"},
		"podman://x":                          {Kind: KindContainersStorage, Name: "x"},
		"squashfs:x.sqsh":                     {Kind: KindSquashfs, Path: "/job/x.sqsh"},
		"sif:~/x.sif":                         {Kind: KindSIF, Path: "/home/a/x.sif"},
		"edf:pytorch":                         {Kind: KindEDF, Name: "pytorch"},
		"edf:./p.toml":                        {Kind: KindEDF, Path: "/job/p.toml"},
		"bundle:/b":                           {Kind: KindBundle, Path: "/b"},
		"rootfs:/r":                           {Kind: KindRootFS, Path: "/r"},
		"docker://docker:27-dind":             short("library/docker", "27-dind"),
		"docker://ghcr.io/a/b:" + hex64 + "_": at("ghcr.io", "a/b", hex64+"_"),
	} {
		got, err := ParseReference(s, site)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", s, got, err, want)
			continue
		}
		normal, err := ParseReference(got.String(), site)
		want.Short = false
		if err != nil || !reflect.DeepEqual(normal, want) {
			t.Errorf("%s, as %s: %+v, %v; want %+v", s, got, normal, err, want)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for s, want := range map[string]struct{ err, hint string }{
		"":                                    {err: "no name"},
		"@":                                   {err: "not the name of a container"},
		"@a/b":                                {err: "not the name of a container"},
		"library://a/b":                       {"only Apptainer supports library://", "run apptainer pull FILE.sif library://a/b, and then use FILE.sif"},
		"shub://a":                            {"only Apptainer supports shub://", "apptainer pull"},
		"https://x/y.sqsh":                    {"files are not downloaded from the web", "download the file"},
		"ftp://x":                             {"unknown scheme ftp", "docker, oras"},
		"nvcr.io:x":                           {"no repository", "nvcr.io/REPOSITORY"},
		"docker://nvcr.io":                    {"no repository", "nvcr.io/REPOSITORY"},
		"localhost:5000":                      {"no repository", "localhost/REPOSITORY"},
		"quay.io/Big/x":                       {"upper case in a repository", "big/x"},
		"Big/x":                               {"upper case in a repository", "big/x"},
		"ubuntu?mount=/x":                     {"a '?'", "options"},
		"quay.io/x?a=b":                       {"a '?'", "options"},
		"docker:27-dind":                      {"two ways", "docker://docker:27-dind"},
		"quay.io/x:":                          {err: "not a tag"},
		"quay.io/x:-a":                        {err: "not a tag"},
		"quay.io/x:a:b":                       {err: "not a tag"},
		"quay.io/x:" + hex64 + hex64 + "x":    {err: "not a tag"},
		"quay.io/a//b":                        {err: "not a repository"},
		"quay.io/../b":                        {err: "not a repository"},
		"quay.io/a/":                          {err: "not a repository"},
		"quay.io/a___b":                       {err: "not a repository"},
		"quay.io/a..b":                        {err: "not a repository"},
		"quay.io/":                            {err: "no repository"},
		"quay.io/" + strings.Repeat("a", 250): {err: "more than 255 bytes"},
		"quay.io:99999/x":                     {err: "quay.io:99999 is not a registry"},
		"quay.io:0/x":                         {err: "not a registry"},
		"-a.b/x":                              {err: "not a registry"},
		"a..b/x":                              {err: "not a registry"},
		"[::1/x":                              {err: "not a registry"},
		"u:secret@quay.io/x":                  {"a password in a name", "ocishim image login"},
		"quay.io/x@sha256:123":                {err: "a digest is sha256:"},
		"quay.io/x@SHA256:" + hex64:           {err: "not a valid user"},
		"quay.io/x@sha256:" + strings.ToUpper(hex64): {err: "a digest is sha256:"},
		"quay.io/x@sha512:" + hex64 + hex64:          {err: "a digest by sha512"},
		"a b":                                        {err: "not a name"},
		"a\x00b":                                     {err: "a control character"},
		"a\nb":                                       {err: "a control character"},
		"/a\x1b[2Jb":                                 {err: "a control character"},
		"\xff":                                       {err: "not UTF-8"},
		"oci:":                                       {err: "no path"},
		"oci:/l:-x":                                  {err: "not a tag"},
		"docker-daemon:-x":                           {err: "not the name of an image"},
		"podman://":                                  {err: "not the name of an image"},
		"podman://--help":                            {err: "not the name of an image"},
		strings.Repeat("a", 9000):                    {err: "longer than"},
	} {
		got, err := ParseReference(s, site)
		var refused *ReferenceError
		if !errors.As(err, &refused) || !errors.Is(err, ErrReference) {
			t.Errorf("%q: %+v, %v", s, got, err)
			continue
		}
		if !strings.Contains(err.Error(), want.err) || !strings.Contains(refused.Hint, want.hint) || (want.hint == "") != (refused.Hint == "") && want.hint != "" {
			t.Errorf("%q: %v, hint %q; want %+v", s, err, refused.Hint, want)
		}
		if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("%q: the error has control characters: %q", s, err)
		}
	}
	if _, err := ParseReference("~/x", Rules{}); err == nil {
		t.Error("a path in a home that is not known")
	}
}

func TestSearch(t *testing.T) {
	rules := Rules{Registries: []string{"registry.site:5000", "docker.io"}, Bare: true}
	r, err := ParseReference("tools:1", rules)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range r.Candidates() {
		got = append(got, c.String())
	}
	want := []string{"docker://registry.site:5000/tools:1", "docker://docker.io/library/tools:1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if r, err = ParseReference("docker.io/tools", rules); err != nil || r.Short || len(r.Candidates()) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err = ParseReference("tools:1", Rules{Registries: []string{"no registry"}}); err == nil {
		t.Error("a registry of the site that is none was taken")
	}
}

func TestInRegistry(t *testing.T) {
	name := Reference{Kind: KindName, Name: "ubuntu"}
	if r, err := name.InRegistry(Rules{Bare: true}); err != nil || r.String() != "docker://docker.io/library/ubuntu:latest" {
		t.Errorf("%v, %v", r, err)
	}
	var refused *ReferenceError
	if r, err := name.InRegistry(Rules{}); !errors.As(err, &refused) || refused.Hint != "docker://ubuntu" {
		t.Errorf("%v, %v", r, err)
	}
	if r, err := (Reference{Kind: KindName, Name: "Ubuntu"}).InRegistry(Rules{Bare: true}); err == nil {
		t.Errorf("%v", r)
	}
}

func TestFamiliar(t *testing.T) {
	for s, want := range map[string]string{
		"docker://u@docker.io/library/ubuntu:1": "ubuntu:1",
		"docker.io/nvidia/cuda":                 "nvidia/cuda:latest",
		"quay.io/x/y@" + sum:                    "quay.io/x/y@" + sum,
		"oci:/x:1":                              "oci:/x:1",
	} {
		if r, err := ParseReference(s, site); err != nil || r.Familiar() != want {
			t.Errorf("%s: %s, %v; want %s", s, r.Familiar(), err, want)
		}
	}
}

// Every parsed reference has a normal form that means the same, and follows the grammar.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"@dev", "ubuntu", "u@quay.io:5000/a/b:1@" + sum, "docker://a#b", "oci:x:y@" + sum, "~/x", "docker:a:b",
		"edf:x", "docker-archive:/x:y", "containers-storage:x", "[::1]:1/x", "library://x", "a?b", "docker:27-dind",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s, site)
		if err != nil {
			if !errors.Is(err, ErrReference) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		again, err := ParseReference(r.String(), site)
		if err != nil {
			t.Fatalf("%q: its normal form %q: %v", s, r, err)
		}
		if again.String() != r.String() {
			t.Fatalf("%q: %q, and that %q", s, r, again)
		}
		r.Short = false
		if !reflect.DeepEqual(r, again) {
			t.Fatalf("%q: %+v, and as %q %+v", s, r, r, again)
		}
		if (r.Kind == KindRegistry || r.Kind == KindORAS) && (!validRepository(r.Repository) || !ValidRegistry(r.Registry) || r.Tag == "" && r.Digest == "") {
			t.Fatalf("%q: %+v", s, r)
		}
		if strings.ContainsAny(r.String(), "\n\x00\x1b") {
			t.Fatalf("%q: %q", s, r)
		}
	})
}
