package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bundleOf returns where the bundle of a task is; for -1, in a script of the task.
func bundleOf(task int) string {
	if task < 0 {
		return "/run/user/peer/bundle$TASK"
	}
	return fmt.Sprintf("/run/user/peer/bundle%d", task)
}

// makeBundle makes a bundle that runs a command in the root file system of another bundle.
func makeBundle(from, to string, command []string) error {
	data, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	process, ok := config["process"].(map[string]any)
	root, there := config["root"].(map[string]any)
	if !ok || !there {
		return fmt.Errorf("%s/config.json has no process or no root", from)
	}
	process["args"], process["terminal"], root["path"] = command, false, filepath.Join(from, "rootfs")
	if data, err = json.Marshal(config); err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(to, 0o755), os.WriteFile(filepath.Join(to, "config.json"), data, 0o644))
}
