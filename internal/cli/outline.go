package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
)

// screen is how many rows of a table one sees at once.
const screen = 24

// entry is a row of results: of a task, or of a group and its members.
type entry struct {
	task    string
	members []string
}

// outlined is the order of rows on paper.
type outlined struct {
	rows []int // of the results, in the order to print
	last []int // of rows, those of groups that stand in no other, which come last and apart
	left int   // tasks that are left out
}

// outline orders rows. Where that would be more than a screen, the subjects of
// benchmarks are left out unless all are wanted.
func outline(entries []entry, all bool) (o outlined) {
	var names []string
	members, at := map[string][]string{}, map[string][]int{}
	for i, e := range entries {
		if !slices.Contains(names, e.task) {
			names = append(names, e.task)
		}
		if len(e.members) > 0 {
			members[e.task] = e.members
		}
		at[e.task] = append(at[e.task], i)
	}
	order := report.Outline(names, members, all || len(entries) <= screen)
	inside := func(name string) bool {
		for _, list := range members {
			if slices.Contains(list, name) {
				return true
			}
		}
		return false
	}
	for _, name := range order {
		o.rows = append(o.rows, at[name]...)
		if len(members[name]) > 0 && !inside(name) {
			o.last = append(o.last, at[name]...)
		}
	}
	o.left = len(names) - len(order)
	return o
}

// apart says that a row is the first of a group's that stands apart.
func (o outlined) apart(i int) bool {
	at := slices.Index(o.rows, i)
	return at > 0 && slices.Contains(o.last, i) && !slices.Contains(o.last, o.rows[at-1])
}

// noteLeft says what is not shown.
func (a *app) noteLeft(o outlined) {
	if o.left > 0 {
		a.note("%s not shown: pass --all to see them, or --json", report.Plural(o.left, "subject"))
	}
}

// allFlag asks for every row.
func allFlag(c *cobra.Command, all *bool) {
	c.Flags().BoolVar(all, "all", false, "print the subjects of benchmarks such as MMLU, too, however many they are")
}
