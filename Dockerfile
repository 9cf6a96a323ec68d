# One image for every role: `up` runs the whole platform, `serve …` one part of it.

FROM python:3.13.7-slim-bookworm AS build

RUN python -m venv /opt/kubefox
ENV PATH=/opt/kubefox/bin:$PATH

# The pinned packages first: they change less often than the code.
COPY requirements.txt /src/
RUN pip install --no-cache-dir -r /src/requirements.txt

COPY pyproject.toml LICENSE README.md /src/
COPY model /src/model
COPY routing /src/routing
COPY broker /src/broker
COPY adapters /src/adapters
COPY pods /src/pods
COPY fox /src/fox
RUN pip install --no-cache-dir --no-deps /src


FROM python:3.13.7-slim-bookworm

RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin kubefox \
    && install --directory --owner=kubefox --group=kubefox /var/lib/kubefox
COPY --from=build /opt/kubefox /opt/kubefox

# The control API takes code to run and is not for the network: it stays on loopback, and
# `docker exec … fox deploy` reaches it.
ENV PATH=/opt/kubefox/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FOX_DATA_DIR=/var/lib/kubefox \
    FOX_HTTP_HOST=0.0.0.0 \
    FOX_HTTP_PORT=8080 \
    FOX_CONTROL_PORT=8081 \
    FOX_LOG_FORMAT=json

USER 10001:10001
WORKDIR /var/lib/kubefox
VOLUME /var/lib/kubefox
EXPOSE 8080

# `up` and `serve control` have the control API; run another role with --no-healthcheck.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"FOX_CONTROL_PORT\"]}/readyz', timeout=2)"]

ENTRYPOINT ["fox"]
CMD ["up"]
