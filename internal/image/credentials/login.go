package credentials

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ocishim/ocishim/internal/text"
)

// LoginFile returns the file that Login writes: AuthFile, REGISTRY_AUTH_FILE, or
// containers/auth.json in the user's configuration. Podman uses RuntimeDir, but that
// disappears with the user's last session, and other hosts do not have it.
func (e Environment) LoginFile() (string, error) {
	if given := e.given(); given != "" {
		return given, nil
	}
	config := e.Config()
	if config == "" {
		return "", errors.New("find the credentials file: the home directory is not known")
	}
	return filepath.Join(config, "containers", "auth.json"), nil
}

// Login stores a password for a registry, or for a namespace of it (REGISTRY/PATH), and returns
// the file's path. It replaces the file by rename, with mode 0600, and keeps everything else in
// it. It does not check the password with the registry.
func (e Environment) Login(registry, user, password string) (string, error) {
	if user == "" || password == "" {
		return "", errors.New("keep credentials: no user or no password")
	}
	return e.change(registry, func(auths map[string]json.RawMessage) error {
		removeKey(auths, registry)
		secret, err := json.Marshal(entry{Auth: base64.StdEncoding.EncodeToString([]byte(user + ":" + password))})
		auths[registry] = secret
		return err
	})
}

// ErrNotLoggedIn says that Logout found nothing to remove.
var ErrNotLoggedIn = errors.New("not logged in")

// Logout removes the password that Login stored.
func (e Environment) Logout(registry string) (string, error) {
	return e.change(registry, func(auths map[string]json.RawMessage) error {
		if !removeKey(auths, registry) {
			return ErrNotLoggedIn
		}
		return nil
	})
}

// removeKey removes every spelling of a registry.
func removeKey(auths map[string]json.RawMessage, registry string) (removed bool) {
	for key := range auths {
		if normalKey(key) == normalKey(registry) {
			delete(auths, key)
			removed = true
		}
	}
	return removed
}

// change rewrites the entries of the file.
func (e Environment) change(registry string, edit func(map[string]json.RawMessage) error) (string, error) {
	path, err := e.LoginFile()
	if err != nil {
		return "", err
	}
	wrap := func(err error) error {
		return fmt.Errorf("change credentials for %s in %s: %w", text.Printable(registry), text.Whole(path), err)
	}
	// If the file is a link, keep the link and replace its target.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	document, auths := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	data, _, err := read(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &document); err != nil {
			return "", wrap(jsonReason(err))
		}
		if old := document["auths"]; old != nil {
			if err := json.Unmarshal(old, &auths); err != nil {
				return "", wrap(jsonReason(err))
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", wrap(err)
	}
	if document == nil || auths == nil { // JSON's null
		document, auths = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	}
	if err := edit(auths); err != nil {
		return "", wrap(err)
	}
	if document["auths"], err = json.Marshal(auths); err != nil {
		return "", wrap(err)
	}
	if data, err = json.MarshalIndent(document, "", "\t"); err != nil {
		return "", wrap(err)
	}
	if err := replace(path, append(data, '\n')); err != nil {
		return "", wrap(err)
	}
	return path, nil
}

// replace atomically writes a file that only its owner may read.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".auth-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone where all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
