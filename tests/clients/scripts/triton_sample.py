"""The first thing that anybody tries: one request to `my_model` by tritonclient.

python triton_sample.py [localhost:8000]
"""

import sys

import numpy as np
import tritonclient.http as httpclient

client = httpclient.InferenceServerClient(url=sys.argv[1] if len(sys.argv) > 1 else "localhost:8000")

input_data = np.array([[0.5, 1.2, 3.4]], dtype=np.float32)
inputs = [httpclient.InferInput("input_node", input_data.shape, "FP32")]
inputs[0].set_data_from_numpy(input_data)

# What the protocol's reference says of this very request: 144 bytes of JSON in front of 12 bytes of numbers.
body, json_size = client.generate_request_body(inputs)
assert (json_size, len(body)) == (144, 156), (json_size, len(body))

results = client.infer(model_name="my_model", inputs=inputs)
output = results.as_numpy("output_node")
print(output)
np.testing.assert_allclose(output, input_data * 3)
client.close()
