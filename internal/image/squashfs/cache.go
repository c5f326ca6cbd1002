package squashfs

import (
	"container/list"
	"fmt"
	"sync"
)

// A cache keeps the most recently used values, up to a limit. A value that several goroutines need
// at once is loaded once. An error is returned to all that waited, and not kept.
type cache[K comparable, V any] struct {
	mu      sync.Mutex
	limit   int64
	held    int64
	entries map[K]*entry[K, V]
	recent  *list.List // of *entry, the loaded entries, most recently used first
	loads   int64
}

type entry[K comparable, V any] struct {
	key    K
	value  V
	err    error
	cost   int64
	loaded chan struct{} // closed when value or err is set
	place  *list.Element // nil while it is loaded
}

func newCache[K comparable, V any](limit int64) *cache[K, V] {
	return &cache[K, V]{limit: limit, entries: map[K]*entry[K, V]{}, recent: list.New()}
}

// get returns the value for key, and calls load if it is not kept. load also returns the value's
// cost, in the unit of the limit. A panic in load becomes an error.
func (c *cache[K, V]) get(key K, load func() (V, int64, error)) (V, error) {
	c.mu.Lock()
	e := c.entries[key]
	if e != nil {
		if e.place != nil {
			c.recent.MoveToFront(e.place)
			c.mu.Unlock()
			return e.value, nil
		}
		c.mu.Unlock()
		<-e.loaded
		return e.value, e.err
	}
	e = &entry[K, V]{key: key, loaded: make(chan struct{})}
	c.entries[key] = e
	c.loads++
	c.mu.Unlock()

	func() {
		defer func() {
			if p := recover(); p != nil {
				e.err = corrupt("%s", fmt.Sprint(p))
			}
		}()
		e.value, e.cost, e.err = load()
	}()

	c.mu.Lock()
	if e.err != nil {
		delete(c.entries, key)
	} else {
		e.place = c.recent.PushFront(e)
		c.held += e.cost
		c.evict()
	}
	c.mu.Unlock()
	close(e.loaded)
	return e.value, e.err
}

// evict drops the least recently used values. The newest stays, whatever it costs.
func (c *cache[K, V]) evict() {
	for c.held > c.limit && c.recent.Len() > 1 {
		last := c.recent.Remove(c.recent.Back()).(*entry[K, V])
		delete(c.entries, last.key)
		c.held -= last.cost
	}
}
