package all_test

import (
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
)

func TestOpen(t *testing.T) {
	for _, device := range append(all.Devices(), "") {
		if device == "cuda" { // TestGPU
			continue
		}
		e, err := all.Open(device, all.Options{DType: "float32", Threads: 1, Getenv: goKernels})
		if err != nil {
			t.Fatal(err)
		}
		info := e.Info()
		if device != all.Auto && device != "" && info.Device != device || info.DType != engine.Float32 || info.Threads != 1 || strings.Contains(info.Provider, "oneDNN") {
			t.Errorf("device %q: %+v", device, info)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// goKernels is an environment without oneDNN and GPU.
func goKernels(name string) string {
	return map[string]string{"COPPICE_ONEDNN": "off", "COPPICE_CUDA": "/nowhere"}[name]
}

func nowhere(name string) string { return map[string]string{"COPPICE_CUDA": "/nowhere"}[name] }

func TestOpenErrors(t *testing.T) {
	for name, c := range map[string]struct {
		device, want string
		o            all.Options
	}{
		"device":    {"tpu", `device "tpu" does not exist; choose from auto, cuda, cpu`, all.Options{}},
		"number":    {"cpu:1", `device "cpu:1" does not exist`, all.Options{}},
		"no number": {"cuda:x", `device "cuda:x" does not exist`, all.Options{}},
		"no GPU":    {"cuda", "no NVIDIA GPU was found: the NVIDIA driver was not found: looked for libcuda.so.1 in /nowhere", all.Options{Getenv: nowhere}},
		"dtype":     {"cpu", "float8", all.Options{DType: "float8"}},
	} {
		if _, err := all.Open(c.device, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %s", name, err, c.want)
		}
	}
}
