package report

import "slices"

// Outline orders the names of tasks and groups for a table: tasks that are in no
// group first, then every group after what it is made of, so that the mean one
// asked for stands last. members are of groups. Without all, of the groups that
// stand in groups, such as MMLU in a mean of eight tasks, only the mean is in it.
func Outline(names []string, members map[string][]string, all bool) []string {
	inside := map[string]bool{}
	for _, list := range members {
		for _, m := range list {
			inside[m] = true
		}
	}
	var out []string
	var add func(name string, depth int)
	add = func(name string, depth int) {
		if slices.Contains(out, name) || !slices.Contains(names, name) || depth > len(names) {
			return
		}
		if depth == 0 || all {
			for _, m := range members[name] {
				add(m, depth+1)
			}
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, grouped := range []bool{false, true} {
		for _, name := range names {
			if !inside[name] && (len(members[name]) > 0) == grouped {
				add(name, 0)
			}
		}
	}
	return out
}
