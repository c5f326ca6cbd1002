package doctor

import (
	"fmt"
	"path/filepath"
)

func programChecks() []Check {
	return []Check{
		{"program", "ocishim itself", program},
		{"config", "the site's configuration", siteConfig},
	}
}

func program(p *Patient) []Finding {
	info, err := p.stat(p.Program)
	switch {
	case err != nil:
		return found(Fail, p.Program+": "+err.Error(), "install it under the path that oci.conf names")
	case info.Uid != 0 || info.Mode&0o022 != 0:
		return found(Warn, fmt.Sprintf("%s belongs to uid %d and has mode %o: whoever can write it runs as everybody", p.Program, info.Uid, info.Mode&0o7777),
			"chown root "+p.Program+" && chmod 755 "+p.Program)
	}
	findings := ok("ocishim " + p.Version + " is " + p.Program)
	for _, path := range []string{filepath.Join(filepath.Dir(p.Program), "ocishim-image"), filepath.Join(filepath.Dir(p.Program), "../libexec/ocishim/ocishim-image")} {
		if p.Host.IsFile(path) {
			return findings
		}
	}
	return append(findings, Finding{Status: Warn, What: "ocishim-image is not beside it: images cannot be pulled, nor started from one file", Fix: "install both programs"})
}

func siteConfig(p *Patient) []Finding {
	if p.ConfigError != nil {
		return found(Fail, p.ConfigError.Error(), "ocishim config --check; every launch fails until it is right")
	}
	if len(p.Config.Files) == 0 {
		return ok("the site has no configuration: the defaults hold")
	}
	return ok(fmt.Sprintf("the site's configuration is right: %d files", len(p.Config.Files)))
}
