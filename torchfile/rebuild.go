package torchfile

import (
	"math"
	"strings"

	"github.com/coppice-ml/coppice/safetensors"
)

// storage is a run of elements in the file that tensors share.
type storage struct {
	key   string
	dtype safetensors.DType // U8 for an untyped one
	numel int64
}

func (s *storage) bytes() int64 { return s.numel * int64(s.dtype.Size()) }

// described is a tensor as the pickle describes it: offset and strides count
// elements.
type described struct {
	storage *storage
	dtype   safetensors.DType
	offset  int64
	shape   []int64
	stride  []int64
}

// The names that a pickle may ask for, beside storages and dtypes.
const (
	orderedDict      global = "collections.OrderedDict"
	torchSize        global = "torch.Size"
	rebuildTensor    global = "torch._utils._rebuild_tensor"
	rebuildTensorV2  global = "torch._utils._rebuild_tensor_v2"
	rebuildTensorV3  global = "torch._utils._rebuild_tensor_v3"
	rebuildParameter global = "torch._utils._rebuild_parameter"
)

func (g global) allowed() bool {
	switch g {
	case orderedDict, torchSize, rebuildTensor, rebuildTensorV2, rebuildTensorV3, rebuildParameter:
		return true
	}
	return g.storageType() != "" || g.dtype() != ""
}

// storageType returns the element type of a storage class, or "".
func (g global) storageType() safetensors.DType {
	name := string(g)
	switch name {
	case "torch.storage.UntypedStorage", "torch.storage._UntypedStorage", "torch.UntypedStorage":
		return safetensors.U8
	}
	// Very old files name the classes of the graphics card.
	name, ok := strings.CutPrefix(name, "torch.cuda.")
	if !ok {
		if name, ok = strings.CutPrefix(name, "torch."); !ok {
			return ""
		}
	}
	return map[string]safetensors.DType{
		"FloatStorage": safetensors.F32, "HalfStorage": safetensors.F16, "BFloat16Storage": safetensors.BF16,
		"DoubleStorage": safetensors.F64, "LongStorage": safetensors.I64, "IntStorage": safetensors.I32,
		"ShortStorage": safetensors.I16, "CharStorage": safetensors.I8, "ByteStorage": safetensors.U8,
		"BoolStorage": safetensors.BOOL, "ComplexFloatStorage": safetensors.C64,
	}[name]
}

// dtype returns the element type that a torch.dtype is, or "".
func (g global) dtype() safetensors.DType {
	return map[global]safetensors.DType{
		"torch.float32": safetensors.F32, "torch.float16": safetensors.F16, "torch.bfloat16": safetensors.BF16,
		"torch.float64": safetensors.F64, "torch.int64": safetensors.I64, "torch.int32": safetensors.I32,
		"torch.int16": safetensors.I16, "torch.int8": safetensors.I8, "torch.uint8": safetensors.U8,
		"torch.bool": safetensors.BOOL, "torch.complex64": safetensors.C64,
		"torch.uint16": safetensors.U16, "torch.uint32": safetensors.U32, "torch.uint64": safetensors.U64,
		"torch.float8_e4m3fn": safetensors.F8_E4M3, "torch.float8_e5m2": safetensors.F8_E5M2,
		"torch.float8_e4m3fnuz": safetensors.F8_E4M3FNUZ, "torch.float8_e5m2fnuz": safetensors.F8_E5M2FNUZ,
		"torch.float8_e8m0fnu": safetensors.F8_E8M0,
	}[g]
}

// storageOf reads the persistent id that stands for a storage:
// ("storage", class, key, device, elements), in old files with a view's place.
func storageOf(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || len(t) > 6 || t[0] != "storage" {
		return nil, damaged("%s does not name a storage", kindOf(id))
	}
	class, isClass := t[1].(global)
	key, isKey := t[2].(string)
	numel, isCount := t[4].(int64)
	if !isClass || class.storageType() == "" || !isKey || !isCount || numel < 0 || numel > math.MaxInt64/16 {
		return nil, damaged("the storage is described by %s, %s and %s", kindOf(t[1]), kindOf(t[2]), kindOf(t[4]))
	}
	if len(t) == 6 && t[5] != nil {
		return nil, unwanted("the storage is a view of another one, as only PyTorch before 0.4 wrote")
	}
	return &storage{key: key, dtype: class.storageType(), numel: numel}, nil
}

// reduce stands for the call of a function.
func reduce(function, arguments any) (any, error) {
	args, ok := arguments.(tuple)
	if !ok {
		return nil, damaged("the arguments are %s, not a tuple", kindOf(arguments))
	}
	g, ok := function.(global)
	if !ok {
		return nil, unwanted("it calls %s; nothing was run", kindOf(function))
	}
	switch g {
	case orderedDict:
		return rebuiltDict(args)
	case torchSize:
		if len(args) == 1 {
			if size, ok := args[0].(tuple); ok {
				return size, nil
			}
		}
	case rebuildTensor, rebuildTensorV2, rebuildTensorV3:
		return rebuilt(g, args)
	case rebuildParameter:
		if len(args) == 3 {
			if t, ok := args[0].(*described); ok {
				return t, nil
			}
		}
	default:
		return nil, unwanted("it calls %q; nothing was run", string(g))
	}
	return nil, damaged("%s gets arguments it does not take", g)
}

// rebuiltDict makes an OrderedDict: empty, to be filled, or from a list of pairs
// as Python 2 wrote it.
func rebuiltDict(args tuple) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	items, ok := args[0].(*list)
	if !ok || len(args) != 1 {
		return nil, damaged("%s gets arguments it does not take", orderedDict)
	}
	for _, item := range items.items {
		kv, ok := item.(tuple)
		if l, isList := item.(*list); isList {
			kv, ok = l.items, true
		}
		if !ok || len(kv) != 2 {
			return nil, damaged("an item of the dict is %s, not a pair", kindOf(item))
		}
		d.pairs = append(d.pairs, pair{kv[0], kv[1]})
	}
	return d, nil
}

// rebuilt describes a tensor: (storage, offset, size, stride, …), in the third
// version with the dtype in the seventh place.
func rebuilt(g global, args tuple) (any, error) {
	least := map[global]int{rebuildTensor: 4, rebuildTensorV2: 6, rebuildTensorV3: 7}[g]
	if len(args) < least {
		return nil, damaged("%s gets %d arguments", g, len(args))
	}
	s, isStorage := args[0].(*storage)
	offset, isOffset := args[1].(int64)
	shape, isShape := integers(args[2])
	stride, isStride := integers(args[3])
	if !isStorage || !isOffset || !isShape || !isStride {
		return nil, damaged("the tensor is described by %s, %s, %s and %s", kindOf(args[0]), kindOf(args[1]), kindOf(args[2]), kindOf(args[3]))
	}
	t := &described{storage: s, dtype: s.dtype, offset: offset, shape: shape, stride: stride}
	if g == rebuildTensorV3 {
		d, ok := args[6].(global)
		if !ok || d.dtype() == "" {
			return nil, unwanted("the tensor has the dtype %s", kindOf(args[6]))
		}
		t.dtype = d.dtype()
	}
	return t, nil
}

func integers(v any) ([]int64, bool) {
	items, ok := v.(tuple)
	if !ok {
		return nil, false
	}
	out := make([]int64, len(items))
	for i, item := range items {
		if out[i], ok = item.(int64); !ok {
			return nil, false
		}
	}
	return out, true
}
