package cpu

// headTiles are keys and values of one head of a sequence as tiles take them: keys as
// tiles [places/16, depth/32] of [16 pairs of values, 16 keys], values as tiles [depth/16,
// places/32] of [16 pairs of keys, 16 values]. What is missing is zero.
type headTiles struct {
	keys, values  []uint16
	places, depth int // of which places is a multiple of queryTile, depth of 32
}

// put sets key and value [depth] of a place.
func (x *headTiles) put(place int, key, value []uint16) {
	const edge = 16
	at := x.keys[place/edge*edge*x.depth+place%edge*2:]
	for j := 0; j < x.depth; j += 2 {
		at[j*edge], at[j*edge+1] = key[j], key[j+1]
	}
	x.setValue(place, value)
}

// setValue sets the value of a place.
func (x *headTiles) setValue(place int, value []uint16) {
	const edge, pair = 16, 32
	at := x.values[place/2*pair+place%2:]
	for j := range x.depth {
		at[j/edge*edge*x.places+j%edge*2] = value[j]
	}
}

// headDepth is HeadDim rounded up to what a tile has of the depth.
func headDepth(headDim int) int { return roundUp(headDim, 32) }
