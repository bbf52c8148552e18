package layerlist

import "testing"

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		layers []int
		want   string
	}{
		{nil, ""}, {[]int{3}, "3"}, {[]int{1, 2}, "1-2"}, {[]int{0, 1, 2, 7}, "0-2,7"}, {[]int{7, 6, 2, 3}, "7,6,2-3"},
	} {
		if got := Format(c.layers); got != c.want {
			t.Errorf("Format(%v) = %q, want %q", c.layers, got, c.want)
		}
	}
}
