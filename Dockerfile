# One image for API, worker and migrations. Nothing of the embedded servers is in it.
ARG PYTHON=python:3.13-slim-trixie

FROM ${PYTHON} AS build
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY deploy/pins.py deploy/pins.py
# Every file that is installed is checked against the hashes in requirements.lock, uv's own too. The
# lock holds tests and embedded servers as well: pins.py picks what the desk itself asks for, and
# the lock constrains, with its hashes, what these ask for in turn.
RUN python deploy/pins.py uv > uv.txt \
    && pip install --no-cache-dir --require-hashes --no-deps -r uv.txt
RUN python deploy/pins.py > direct.txt \
    && uv venv /opt/venv \
    && VIRTUAL_ENV=/opt/venv uv pip install --no-cache --require-hashes --only-binary :all: \
        --compile-bytecode -r direct.txt -c requirements.lock

FROM ${PYTHON}
RUN groupadd --gid 10001 holdfast \
    && useradd --uid 10001 --gid holdfast --no-create-home --home-dir /data --shell /usr/sbin/nologin holdfast \
    && install --directory --owner holdfast --group holdfast --mode 0700 /data \
    && printf '#!/bin/sh\nexec python -m cli "$@"\n' > /usr/local/bin/holdfast \
    && chmod 0755 /usr/local/bin/holdfast
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY activities activities
COPY adapters adapters
COPY api api
COPY cli cli
COPY domain domain
COPY migrations migrations
COPY models models
COPY services services
COPY stack stack
COPY workflows workflows
COPY settings.py worker.py alembic.ini ./
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOLDFAST_HOME=/data
RUN python -m compileall -q /app
USER 10001:10001
VOLUME /data
EXPOSE 8080 9464
CMD ["holdfast", "--help"]
