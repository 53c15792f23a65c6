# Two images from one file: `api` (API, beat, migrations; no torch) and `worker` (the trainer).
#   docker build --target api -t thumbwheel-api .
#   docker build --target worker -t thumbwheel-worker .                         CPU
#   docker build --target worker --build-arg TORCH_BACKEND=cu130 -t … .         CUDA, see deploy/compose.gpu.yml
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt uv && python -m venv /opt/thumbwheel
COPY pyproject.toml README.md LICENSE ./
COPY client client
# Dependencies are installed before the code is copied, so that a change of code does not install them again.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/thumbwheel/bin/python -c constraints.txt ./client \
    && uv pip install --python /opt/thumbwheel/bin/python -c constraints.txt -r pyproject.toml --extra server --extra s3
COPY app app
COPY worker worker
COPY migrations migrations
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/thumbwheel/bin/python --no-deps .

FROM build AS build-worker
ARG TORCH_BACKEND=cpu
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/thumbwheel/bin/python -c constraints.txt --torch-backend="$TORCH_BACKEND" \
    -r pyproject.toml --extra server --extra s3 --extra worker

FROM python:${PYTHON}-slim-bookworm AS base
# The folder has the right owner before a volume is mounted over it.
RUN useradd --system --uid 10001 --create-home thumbwheel && install -d -o thumbwheel -g thumbwheel /var/lib/thumbwheel
ENV PATH=/opt/thumbwheel/bin:$PATH PYTHONUNBUFFERED=1 THUMBWHEEL_ALIVE_FILE=/tmp/thumbwheel-alive \
    THUMBWHEEL_DATA_DIR=/var/lib/thumbwheel THUMBWHEEL_HOST=0.0.0.0 THUMBWHEEL_LOG_FORMAT=json
COPY --chmod=755 deploy/alive /usr/local/bin/alive
USER 10001
WORKDIR /home/thumbwheel
VOLUME /var/lib/thumbwheel

FROM base AS api
COPY --from=build /opt/thumbwheel /opt/thumbwheel
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["alive", "api"]
CMD ["python", "-m", "app.server", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS worker
COPY --from=build-worker /opt/thumbwheel /opt/thumbwheel
# A worker is alive while it can take messages. This check does not see a hanging GPU; the run's lease does.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["alive", "worker"]
CMD ["sh", "-c", "exec celery -A worker.main worker -Q runs -c 1 -n \"runs@$(hostname)\" --loglevel INFO"]
