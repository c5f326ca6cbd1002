package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/storage"
	"github.com/ocishim/ocishim/internal/text"
)

func (p *program) lsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list the images of the stores",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print the records, as a JSON array"}},
		Action: func(c *cli.Context) error {
			return look(c, func(stores image.Stores) error {
				records, err := list(stores)
				if err != nil {
					return err
				}
				slices.SortFunc(records, func(a, b image.Record) int {
					return strings.Compare(a.Reference+string(a.Digest)+string(a.Format), b.Reference+string(b.Digest)+string(b.Format))
				})
				if c.Bool("json") {
					return printJSON(append([]image.Record{}, records...))
				}
				return printRecords(records)
			})
		},
	}
}

// list returns the records of all images, and warns about entries that it skips.
func list(stores image.Stores) (records []image.Record, err error) {
	for _, s := range stores {
		some, reasons, err := s.List()
		warn(reasons)
		if err != nil {
			return nil, err
		}
		records = append(records, some...)
	}
	return records, nil
}

func printRecords(records []image.Record) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tDIGEST\tFORMAT\tSIZE\tCREATED")
	for _, r := range records {
		hex, err := r.Digest.Hex()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", text.Printable(r.Reference), hex[:12], r.Format, units.HumanSize(float64(r.Size)), r.Created.Local().Format("2006-01-02 15:04"))
	}
	return w.Flush()
}

func printJSON(v any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func (p *program) inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "print the record of an image, as JSON", ArgsUsage: "IMAGE",
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 1, "one image"); err != nil {
				return err
			}
			return look(c, func(s image.Stores) error {
				found, err := p.find(c, s)
				if err != nil {
					return err
				}
				return errors.Join(printJSON(struct {
					image.Record
					Path string `json:"path"`
				}{found.Record, found.Path}), found.Close())
			})
		},
	}
}

func (p *program) rmCommand() *cli.Command {
	return &cli.Command{
		Name: "rm", Usage: "remove an image, unless a job uses it", ArgsUsage: "IMAGE",
		Flags: []cli.Flag{localFlag()},
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 1, "one image"); err != nil {
				return err
			}
			return change(c, func(s *storage.Store) error {
				digest, err := p.digestOf(c, image.Stores{s.Store})
				if err != nil {
					return err
				}
				return s.Remove(digest)
			})
		},
	}
}

func (p *program) gcCommand() *cli.Command {
	return &cli.Command{
		Name: "gc", Usage: "remove leftovers and broken images, and the least recently used images above --max-size",
		Flags: []cli.Flag{&cli.StringFlag{Name: "max-size", Usage: "keep at most `SIZE` of images, such as 200GB"}, localFlag()},
		Action: func(c *cli.Context) error {
			most := int64(1) << 62
			if size := c.String("max-size"); size != "" {
				var err error
				if most, err = units.FromHumanSize(size); err != nil {
					return usageError{fmt.Errorf("--max-size: %w", err)}
				}
			}
			return change(c, func(s *storage.Store) error {
				freed, err := s.Evict(most)
				if freed != nil {
					for _, entry := range freed.Images {
						fmt.Println("removed", text.Printable(entry))
					}
				}
				return err
			})
		},
	}
}

func (p *program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check one image, or all, for changes since the import", ArgsUsage: "[IMAGE]",
		Action: func(c *cli.Context) error {
			if err := wants(c, 0, 1, "one image, or none"); err != nil {
				return err
			}
			return look(c, func(stores image.Stores) error {
				if c.Args().Present() {
					found, err := p.find(c, stores)
					if err != nil {
						return err
					}
					return errors.Join(storage.Verify(found), found.Close())
				}
				var errs []error
				for _, s := range stores {
					records, reasons, err := s.List()
					errs = append(errs, append(reasons, err)...)
					for _, r := range records {
						found, err := s.Open(r.Digest, r.Format)
						if err == nil {
							err = errors.Join(storage.Verify(found), found.Close())
						}
						errs = append(errs, err)
					}
				}
				return errors.Join(errs...)
			})
		},
	}
}
