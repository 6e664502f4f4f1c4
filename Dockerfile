# One image for API, worker and migrations. Nothing of the embedded servers is in it.
ARG PYTHON=python:3.13-slim-trixie

FROM ${PYTHON} AS build
WORKDIR /build
COPY pyproject.toml requirements.lock README.md ./
COPY deploy/pins.py deploy/pins.py
# Every file that is installed is checked against the hashes in requirements.lock, uv and the build
# tool too. The lock holds tests and embedded servers as well, so `uv pip sync` would bring all of
# them: pins.py picks what the desk itself asks for, and the lock, with its hashes, constrains what
# these ask for in turn.
RUN python deploy/pins.py uv > uv.txt \
    && python deploy/pins.py hatchling editables > tools.txt \
    && python deploy/pins.py > direct.txt \
    && pip install --no-cache-dir --require-hashes --no-deps -r uv.txt
RUN uv venv /opt/tools \
    && VIRTUAL_ENV=/opt/tools uv pip install --no-cache --require-hashes --only-binary :all: \
        -r tools.txt -c requirements.lock \
    && uv venv /opt/venv \
    && VIRTUAL_ENV=/opt/venv uv pip install --no-cache --require-hashes --only-binary :all: \
        --compile-bytecode -r direct.txt -c requirements.lock
# Last, because it changes most often.
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
RUN VIRTUAL_ENV=/opt/tools uv build --wheel --no-build-isolation --python /opt/tools/bin/python \
        --out-dir dist . \
    && VIRTUAL_ENV=/opt/venv uv pip install --no-cache --no-deps --compile-bytecode dist/*.whl

FROM ${PYTHON}
RUN groupadd --gid 10001 holdfast \
    && useradd --uid 10001 --gid holdfast --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin holdfast \
    && install --directory --owner holdfast --group holdfast --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FORWARDED_ALLOW_IPS= \
    HOLDFAST_HOME=/data
WORKDIR /opt/venv
USER 10001:10001
VOLUME /data
EXPOSE 8080 9464
CMD ["holdfast", "--help"]
