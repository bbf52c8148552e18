package all_test

import (
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
)

func TestOpen(t *testing.T) {
	for _, device := range append(all.Devices(), "") {
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

func goKernels(name string) string { return map[string]string{"COPPICE_ONEDNN": "off"}[name] }

func TestOpenErrors(t *testing.T) {
	for name, c := range map[string]struct {
		device, want string
		o            all.Options
	}{
		"device": {"tpu", `device "tpu" does not exist; choose from auto, cpu`, all.Options{}},
		"dtype":  {"cpu", "float8", all.Options{DType: "float8"}},
	} {
		if _, err := all.Open(c.device, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %s", name, err, c.want)
		}
	}
}
