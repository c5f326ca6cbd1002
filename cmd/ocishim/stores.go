package main

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/sirupsen/logrus"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/slurm"
)

// imageOptions are what the site decides about images, as ocishim-image is told.
func imageOptions(cfg *config.Config, env []string) []string {
	var options []string
	if store := usersStore(cfg, env); store != "" {
		options = append(options, "--store", store)
	}
	if local := localStore(cfg, env); local != "" {
		options = append(options, "--local-store", local)
	}
	for _, store := range cfg.Image.Stores {
		options = append(options, "--site-store", store)
	}
	for _, registry := range cfg.Image.Registries {
		options = append(options, "--registry", registry)
	}
	if cfg.Image.Format != "auto" {
		options = append(options, "--prefer", cfg.Image.Format)
	}
	if cfg.Image.Bare {
		options = append(options, "--bare")
	}
	return append(options, environmentDirs(cfg)...)
}

// usersStore is the store that the images of the environment's user are imported into;
// empty where no home is known.
func usersStore(cfg *config.Config, env []string) string {
	if cfg.Image.Store != "" {
		return usersPath(cfg.Image.Store, env)
	}
	if dir, _ := bundle.Getenv(env, "XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ocishim", "images")
	}
	if home, _ := bundle.Getenv(env, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "ocishim", "images")
	}
	return ""
}

// localStore is the store on this host's own disk; empty where the site has none.
func localStore(cfg *config.Config, env []string) string {
	if cfg.Image.Local == "" {
		return ""
	}
	return usersPath(cfg.Image.Local, env)
}

// usersPath replaces %u and %U in a path of the site's. It is empty where that is not
// possible.
func usersPath(pattern string, env []string) string {
	values := slurm.Values{UID: strconv.Itoa(os.Geteuid())}
	values.User, _ = bundle.Getenv(env, "USER")
	if u, err := user.LookupId(values.UID); err == nil {
		values.User = u.Username
	}
	path, err := slurm.Expand(pattern, values)
	if err != nil {
		logrus.Warnf("path %q in the configuration: %v", pattern, err)
		return ""
	}
	return path
}
