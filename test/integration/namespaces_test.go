//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
)

// namespacesOf makes Slurm create the namespaces of the column for each job, by its plugin
// namespace/linux: mount (each job has its own /tmp and /dev/shm), and in addition user (one that
// maps every id to itself) or pid. With pid, Slurm's cleanup does not finish, so that column has
// the Epilog that we offer for this case.
func (c *cluster) namespacesOf(dir string) error {
	if c.namespaces == "" {
		return nil
	}
	flags, known := map[string]string{"mount": "CLONE_NEWNS", "user": "CLONE_NEWUSER", "pid": "CLONE_NEWPID"}[c.namespaces]
	if !known {
		return fmt.Errorf("no namespaces %q: mount, user or pid", c.namespaces)
	}
	c.conf = append(c.conf, "NamespaceType=namespace/linux", "PrologFlags=Contain")
	c.etc = append(c.etc, filepath.Join(dir, "namespace.yaml"))
	if c.namespaces == "pid" {
		c.conf = append(c.conf, "Epilog=/etc/slurm/ocishim")
		c.etc = append(c.etc, filepath.Join(repo, "oci.conf.d/epilog.d/ocishim"))
	}
	return os.WriteFile(c.etc[0], []byte("defaults:\n  auto_base_path: true\n  base_path: /var/ns/%n\n  clone_ns_flags: "+flags+"\n"), 0o644)
}
