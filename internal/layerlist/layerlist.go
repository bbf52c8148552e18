// Package layerlist writes lists of layers the way flags take them.
//
// Reading them, which needs to know how many layers there are, belongs to prune.
package layerlist

import (
	"strconv"
	"strings"
)

// Format writes a list such as 0-3,7. Runs are joined only where the order is
// ascending, so that a list reads back as it was.
func Format(layers []int) string {
	var parts []string
	for i := 0; i < len(layers); {
		j := i
		for j+1 < len(layers) && layers[j+1] == layers[j]+1 {
			j++
		}
		part := strconv.Itoa(layers[i])
		if j > i {
			part += "-" + strconv.Itoa(layers[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
