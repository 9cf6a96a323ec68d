package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	certificates "k8s.io/client-go/util/cert"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	idleTime     = 4 * time.Hour
	creationTime = remotecommand.DefaultStreamCreationTimeout
	podPath      = "{namespace}/{pod}"
)

// place tells how a command is run in a container, and at which address its pod is reached.
type place struct {
	Address string
	Command []string
	Environ []string
	Folder  string
}

// node serves exec and port-forward of the pods of one node, as a kubelet does. It asks the agent of
// the node for their places, and passes all other requests on to it.
type node struct {
	agent  *url.URL
	client *http.Client
}

// NewStreamingCommand returns the part `streaming`. It prints the port on which it listens.
func NewStreamingCommand() *cobra.Command {
	var address, agent string
	command := &cobra.Command{
		Use:          "streaming",
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return serve(address, agent) },
	}
	command.Flags().StringVar(&address, "address", "127.0.0.1", "IP address to listen on")
	command.Flags().StringVar(&agent, "agent", "", "URL of the agent of the node")
	return command
}

func serve(address, agent string) error {
	to, err := url.Parse(agent)
	if err != nil {
		return err
	}
	// The agent has made its certificate itself.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	served := &node{agent: to, client: &http.Client{Transport: transport}}
	certificate, key, err := certificates.GenerateSelfSignedCertKey(address, nil, nil)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	secured := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	return http.Serve(secured, served.routes(transport))
}

func (n *node) routes(transport http.RoundTripper) http.Handler {
	rest := httputil.NewSingleHostReverseProxy(n.agent)
	rest.Transport = transport
	// A followed log comes line by line.
	rest.FlushInterval = -1
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/"+podPath+"/{container}", n.serveExec)
	mux.HandleFunc("/portForward/"+podPath, n.servePortForward)
	mux.Handle("/", rest)
	return mux
}

func (n *node) serveExec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, n, podOf(r), "", r.PathValue("container"), r.URL.Query()["command"],
		options, idleTime, creationTime, remotecommand.SupportedStreamingProtocols)
}

func (n *node) servePortForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, n, podOf(r), "", options, idleTime, creationTime,
		portforward.SupportedProtocols)
}

func podOf(r *http.Request) string {
	return r.PathValue("namespace") + "/" + r.PathValue("pod")
}

// PortForward copies between a stream and a port of a pod, until one of them ends.
func (n *node) PortForward(ctx context.Context, pod, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	found, err := n.placeOf(ctx, pod, "", nil)
	if err != nil {
		return err
	}
	connection, err := net.Dial("tcp", net.JoinHostPort(found.Address, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer connection.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(connection, stream)
		// The pod may still answer.
		connection.(*net.TCPConn).CloseWrite()
		if err != nil {
			ended <- err
		}
	}()
	go func() {
		_, err := io.Copy(stream, connection)
		ended <- err
	}()
	return <-ended
}

// ExecInContainer runs a command as the processes of a container run.
func (n *node) ExecInContainer(ctx context.Context, pod, _, container string, command []string,
	in io.Reader, out, failures io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	found, err := n.placeOf(ctx, pod, container, command)
	if err != nil {
		return err
	}
	running := exec.CommandContext(ctx, found.Command[0], found.Command[1:]...)
	running.Env, running.Dir = found.Environ, found.Folder
	running.Stdout, running.Stderr = out, failures
	if in != nil {
		// With running.Stdin, the end of the command would wait for that of its input.
		input, err := running.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			defer input.Close()
			io.Copy(input, in)
		}()
	}
	err = running.Run()
	if failed, ok := err.(*exec.ExitError); ok {
		return utilexec.CodeExitError{Err: err, Code: failed.ExitCode()}
	}
	return err
}

func (n *node) placeOf(ctx context.Context, pod, container string, command []string) (*place, error) {
	asked := n.agent.JoinPath("places", pod)
	asked.RawQuery = url.Values{"container": {container}, "command": command}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, asked.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := n.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("pod %s: %s", pod, text)
	}
	var found place
	return &found, json.NewDecoder(answer.Body).Decode(&found)
}
