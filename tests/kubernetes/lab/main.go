// Command lab runs the parts of a Kubernetes control plane, the streaming of a node, and kubectl: its
// first argument names the part, the others are those of the part.
package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var commands = map[string]func() *cobra.Command{
	"apiserver":          apiserver.NewAPIServerCommand,
	"controller-manager": controllers.NewControllerManagerCommand,
	"scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":            kubectl.NewDefaultKubectlCommand,
	"streaming":          NewStreamingCommand,
}

func main() {
	if len(os.Args) < 2 {
		fail("no part is named")
	}
	part := os.Args[1]
	// Each part reads its own arguments from os.Args.
	os.Args = slices.Delete(os.Args, 1, 2)
	if part == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command, found := commands[part]
	if !found {
		fail(fmt.Sprintf("there is no part %q", part))
	}
	os.Exit(cli.Run(command()))
}

func fail(fault string) {
	fmt.Fprintln(os.Stderr, fault+": expected etcd, apiserver, controller-manager, scheduler, streaming or kubectl")
	os.Exit(2)
}
