package gpu

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

// A card is a GPU, or a part of one that is used like one.
type card struct {
	names []string // by which it may be asked for, beside its index: UUID, bus address
	nodes []host.Device
	label string // for people

	minor int    // of NVIDIA's device node
	bus   string // PCI address
	model string
	parts []part // of an NVIDIA GPU in MIG mode
}

// denied is why the card may not be used, nil when it may.
func (c card) denied() error {
	for _, n := range c.nodes {
		if n.Denied != nil {
			return n.Denied
		}
	}
	return nil
}

// slurmGPUs is what Slurm says of the task's GPUs: the variable and its list of
// indices, which count all GPUs of the node. ok is false for a task without.
//
// A step that was given none may still have the SLURM_JOB_GPUS of the script
// that started it, so that counts for scripts and interactive steps only.
func (env environment) slurmGPUs() (variable, list string, ok bool) {
	if list := env["SLURM_STEP_GPUS"]; list != "" {
		return "SLURM_STEP_GPUS", list, true
	}
	const specialSteps = 0xfffffff0 // slurm.h: extern, batch, interactive and pending steps
	step, err := strconv.ParseUint(env["SLURM_STEP_ID"], 10, 32)
	if list := env["SLURM_JOB_GPUS"]; list != "" && (err != nil || step >= specialSteps) {
		return "SLURM_JOB_GPUS", list, true
	}
	for _, name := range []string{"SLURM_SHARDS_ON_NODE", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "SLURM_GPUS_ON_NODE"} {
		if value := env[name]; value != "" && value != "0" {
			return name, "", true
		}
	}
	return "", "", false
}

// early tells whether Slurm wrote the configuration before it knew the task, as 22.05
// does: then no variable says anything of the task's GPUs.
func (p *plan) early() bool {
	_, _, named := p.env.slurmGPUs()
	return p.Slurm && !named && p.env[taskVariable] == ""
}

// taskVariable is one that any task of Slurm's has.
const taskVariable = "SLURM_PROCID"

// A choice is which cards the container gets, and how its variable names them.
type choice struct {
	cards []card
	rule  string

	// visible is what the vendor's variable is to be, when rewrite is set.
	visible string
	rewrite bool

	// counted are the cards that the variable counts.
	counted []card
}

// ofTask chooses the cards of a Slurm task, by what Slurm says of it, or else by what
// its device cgroup does.
func (p *plan) ofTask(cards []card, variable string) (choice, error) {
	if p.early() {
		return p.left(cards), nil
	}
	return p.allocated(cards, variable)
}

// left are the cards that the device cgroup allows, where it denies others. Where it
// denies none, nobody knows whether all are the task's.
func (p *plan) left(cards []card) choice {
	var c choice
	denied := 0
	for _, card := range cards {
		switch err := card.denied(); {
		case err == nil:
			c.cards = append(c.cards, card)
		case errors.Is(err, unix.EPERM):
			denied++
		}
	}
	if denied == 0 {
		p.unknown = p.unknown || len(cards) > 0
		return choice{}
	}
	c.rule = fmt.Sprintf("%d of %d GPUs allowed by the device cgroup, of which Slurm says nothing", len(c.cards), len(cards))
	c.counted = c.cards
	return c
}

// allocated chooses the cards of a Slurm task. cards are all of the node, in
// the order in which Slurm counts them; variable is the one in which Slurm names
// them to the vendor's libraries.
//
// Where the device cgroup denies some, those that are left are the task's, and
// indices already count them alone. Where it denies none, the lists choose, and
// indices are made to count what was chosen.
func (p *plan) allocated(cards []card, variable string) (choice, error) {
	usable, constrained, err := p.usable(cards)
	if err != nil {
		return choice{}, err
	}
	list, named := p.env.list(variable)
	from, global, _ := p.env.slurmGPUs()
	c := choice{cards: usable, counted: usable}
	switch {
	case slices.ContainsFunc(list, isPart):
		// Which instance has which UUID only the driver knows. Slurm constrains
		// them one by one, and the list stays as it is.
		c.cards = slices.DeleteFunc(slices.Clone(usable), func(c card) bool { return len(c.parts) == 0 })
		c.rule = "the MIG instances that the device cgroup allows"
	case constrained && p.Site.Isolate && named:
		c.rule = fmt.Sprintf("%s among the %d GPUs that the device cgroup allows, isolated", variable, len(usable))
		c.cards, c.visible, err = pick(usable, variable, list)
		c.rewrite = true
	case constrained:
		c.rule = fmt.Sprintf("%d of %d GPUs allowed by the device cgroup", len(usable), len(cards))
		if from != "SLURM_STEP_GPUS" && !among(usable, list) {
			// The list of the job's script, whose step 22.05 says nothing of.
			c.rewrite, c.visible = true, indices(len(usable))
		}
	case named:
		c.rule = fmt.Sprintf("%s=%s, no GPU denied by a device cgroup", variable, text.Printable(p.env[variable]))
		c.cards, c.visible, err = pick(cards, variable, list)
		c.rewrite = true
	case global != "":
		c.rule = fmt.Sprintf("%s=%s, no GPU denied by a device cgroup", from, text.Printable(global))
		c.cards, _, err = pick(cards, from, strings.Split(global, ","))
	default:
		c.rule = from + ": all GPUs of the node"
	}
	if c.rewrite {
		c.counted = c.cards
	}
	return c, err
}

// among tells whether all entries of a list are of those cards.
func among(cards []card, list []string) bool {
	return !slices.ContainsFunc(list, func(entry string) bool {
		_, ok := find(cards, entry)
		return !ok
	})
}

// indices counts from 0 to n-1.
func indices(n int) string {
	var all []string
	for i := range n {
		all = append(all, strconv.Itoa(i))
	}
	return strings.Join(all, ",")
}

// isPart tells whether an entry of a list is a MIG instance.
func isPart(entry string) bool { return strings.HasPrefix(entry, "MIG-") }

// usable leaves out the cards that the task may not use; constrained says
// whether a device cgroup is the reason for any. No permission is an error that
// names the group when it leaves none.
func (p *plan) usable(cards []card) (usable []card, constrained bool, err error) {
	var reasons []error
	for _, c := range cards {
		denied := c.denied()
		switch {
		case denied == nil:
			usable = append(usable, c)
		case errors.Is(denied, unix.EPERM):
			constrained = true
		default:
			reasons = append(reasons, p.missingGroup(c.nodes))
		}
	}
	if len(reasons) > 0 && len(usable) == 0 {
		return nil, false, reasons[0]
	}
	for _, reason := range reasons {
		p.warn(reason.Error())
	}
	return usable, constrained, nil
}

// pick chooses cards by a list of indices and names. visible is the list as it
// reads where there are only those cards: indices count them, names stay.
func pick(cards []card, variable string, list []string) (chosen []card, visible string, err error) {
	var entries []string
	position := map[string]int{} // by label
	for _, entry := range list {
		c, ok := find(cards, entry)
		if !ok {
			// CUDA ignores what follows an entry that is no GPU.
			if variable == "CUDA_VISIBLE_DEVICES" && (entry == "-1" || entry == "NoDevFiles") {
				break
			}
			return nil, "", fmt.Errorf("choose GPUs: %s names %s, which is not among the %d GPUs here", variable, text.Printable(entry), len(cards))
		}
		if _, ok := position[c.label]; !ok {
			position[c.label] = len(position)
			chosen = append(chosen, c)
		}
		if _, err := strconv.Atoi(entry); err == nil {
			entry = strconv.Itoa(position[c.label])
		}
		entries = append(entries, entry)
	}
	return inOrder(cards, chosen, entries, position)
}

// inOrder puts the chosen cards into the order of the node, in which libraries
// will count them, and the indices of the entries with them.
func inOrder(cards, chosen []card, entries []string, position map[string]int) ([]card, string, error) {
	var sorted []card
	place := make([]string, len(chosen))
	for _, c := range cards {
		if at, ok := position[c.label]; ok {
			place[at] = strconv.Itoa(len(sorted))
			sorted = append(sorted, c)
		}
	}
	for i, entry := range entries {
		if at, err := strconv.Atoi(entry); err == nil {
			entries[i] = place[at]
		}
	}
	return sorted, strings.Join(entries, ","), nil
}

// find is the card of that index or name. A UUID may be cut short where only
// one card fits, as CUDA has it.
func find(cards []card, entry string) (card, bool) {
	if i, err := strconv.Atoi(entry); err == nil {
		if i < 0 || i >= len(cards) {
			return card{}, false
		}
		return cards[i], true
	}
	var fitting []card
	for _, c := range cards {
		if slices.ContainsFunc(c.names, func(name string) bool { return strings.EqualFold(name, entry) }) {
			return c, true
		}
		if slices.ContainsFunc(c.names, func(name string) bool {
			return len(entry) > len("GPU-") && strings.HasPrefix(strings.ToLower(name), strings.ToLower(entry))
		}) {
			fitting = append(fitting, c)
		}
	}
	if len(fitting) != 1 {
		return card{}, false
	}
	return fitting[0], true
}

// narrow leaves of a choice only what a list asks for. What the list names must
// be in the allocation: it can take away, never add. vendor is the variable in
// which the vendor's libraries find the list.
func (p *plan) narrow(c choice, variable string, list []string, vendor string) (choice, error) {
	chosen, _, err := pick(c.cards, variable, list)
	if err != nil {
		return choice{}, err
	}
	if len(chosen) == len(c.cards) {
		return c, nil
	}
	narrowed := choice{cards: chosen, rule: c.rule + ", narrowed by " + variable}
	narrowed.visible, narrowed.rewrite = p.narrowedList(c, chosen, vendor)
	return narrowed, nil
}

// narrowedList is the vendor's list of the chosen ones among the cards of c.
func (p *plan) narrowedList(c choice, chosen []card, vendor string) (list string, set bool) {
	before, named := p.env.list(vendor)
	counted := c.counted
	switch {
	case c.rewrite:
		before = strings.Split(c.visible, ",")
	case !named:
		return "", false
	}
	var kept []string
	for _, entry := range before {
		old, ok := find(counted, entry)
		if !ok {
			continue
		}
		at := slices.IndexFunc(chosen, func(n card) bool { return n.label == old.label })
		if at < 0 {
			continue
		}
		if _, err := strconv.Atoi(entry); err == nil {
			entry = strconv.Itoa(at)
		}
		kept = append(kept, entry)
	}
	return strings.Join(kept, ","), true
}
