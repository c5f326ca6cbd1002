// Command inplace launches a bundle in place, unchanged. ocishim does so only under the hpc
// profile, which drops part of what the launcher supports.
package main

import (
	"fmt"
	"os"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime"
	"github.com/ocishim/ocishim/runtime/inplace"
)

func init() {
	inplace.FinishBecoming(runtime.SetSeccomp)
	runtime.BecomeInit()
}

func main() {
	fmt.Fprintln(os.Stderr, "inplace:", launch(os.Args[1], os.Args[2], os.Args[3]))
	os.Exit(125)
}

// launch returns only when it has failed.
func launch(state, dir, id string) error {
	b, err := bundle.Load(dir)
	if err == nil {
		err = b.Validate()
	}
	if err != nil {
		return err
	}
	b.ID = id
	o := runtime.LaunchOptions{InPlace: true}
	if why := runtime.WhyNotInPlace(b, o); why != "" {
		return fmt.Errorf("libcontainer would have to launch it: %s", why)
	}
	store, err := runtime.MakeStore(state)
	if err != nil {
		return err
	}
	_, err = runtime.Run(store, b, o)
	return err
}
