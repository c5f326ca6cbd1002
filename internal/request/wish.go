package request

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/text"
)

// A Wish is what an environment file says of one key.
type Wish struct {
	Key string `json:"key"`

	// Values are the items of a list, or one string. For env each is NAME=VALUE, a variable of the
	// table, and NAME= unsets it.
	Values []string `json:"values"`

	// By is the file and line, such as /home/alice/.edf/torch.toml:3.
	By string `json:"by"`
}

// wishesAnnotation has the wishes of environment files, in a bundle that stands for what such a
// file describes. Files may have changed, or not be there, where the bundle is launched.
const wishesAnnotation = annotationPrefix + "environment"

// maxWishes is how long this annotation may be, in bytes.
const maxWishes = 1 << 20

var errWishes = errors.New("not what ocishim wrote of an environment file")

// Annotate returns the annotations with the wishes among them. The former ones are not changed.
func Annotate(annotations map[string]string, wishes []Wish) (map[string]string, error) {
	all := maps.Clone(annotations)
	if all == nil {
		all = map[string]string{}
	}
	if len(wishes) == 0 {
		return all, nil
	}
	data, err := json.Marshal(wishes)
	if err != nil {
		return nil, fmt.Errorf("write annotation %s: %w", wishesAnnotation, err)
	}
	all[wishesAnnotation] = string(data)
	return all, nil
}

// readWishes adds the wishes of the annotations. ${NAME} in a value stands for the job's variable.
func (r *Request) readWishes(annotations map[string]string, env []string) error {
	data := annotations[wishesAnnotation]
	if data == "" {
		return nil
	}
	var wishes []Wish
	if len(data) > maxWishes || json.Unmarshal([]byte(data), &wishes) != nil {
		return fmt.Errorf("annotation %s: %w: %s", wishesAnnotation, errWishes, text.Quoted(data))
	}
	for _, w := range wishes {
		lookup := func(name string) (string, bool) { return bundle.Getenv(env, name) }
		if err := r.AddWish(w, lookup); err != nil {
			return err
		}
	}
	return nil
}

// AddWish adds a wish, over those that were added before. lookup answers for the job's variables.
func (r *Request) AddWish(w Wish, lookup func(name string) (string, bool)) error {
	by := w.By + ": " + text.Printable(w.Key)
	if w.Key == "env" {
		return r.addTable(w.Values, by)
	}
	values := make([]string, len(w.Values))
	for i, value := range w.Values {
		var err error
		if values[i], err = Expand(value, lookup); err != nil {
			return fmt.Errorf("%s: %s: %w", by, text.Quoted(value), err)
		}
	}
	return r.Set(w.Key, values, by)
}

// addTable adds the variables of a table env. Their values are expanded in the container's
// environment, when that is known.
func (r *Request) addTable(values []string, by string) error {
	for _, value := range values {
		v, err := ParseVariable(value, by)
		if err != nil {
			return err
		}
		v.Pass, v.Unset, v.Expand = false, v.Value == "", true
		r.AddVariables(v)
	}
	return nil
}
