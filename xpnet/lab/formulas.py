"""The formulas of the experiments: LaTeX here, MathML in formulas.json by `python -m tests.lab.formulas`."""

from __future__ import annotations

import json
from importlib.resources import files

FORMULAS = {
    "activation-statistics": [
        r"q_l = \mathbb{E}\left[\tanh^2\left(\sqrt{n \sigma^2 q_{l-1}}\, g\right)\right]",
        r"g \sim \mathcal{N}(0, 1)",
        r"\sigma_l^2 = \frac{\pi - 1}{2 \pi} n\sigma^2 \left(\frac{n\sigma^2}{2}\right)^{l-1} \text{(ReLU)}",
    ],
    "activations": [
        r"\sigma'(z) = \sigma(z)\,(1 - \sigma(z))",
        r"\tanh'(z) = 1 - \tanh^2(z)",
        r"\tanh(z) = 2\,\sigma(2z) - 1",
        r"\operatorname{ELU}(z) = \begin{cases} z & z > 0 \\ \alpha\,(e^z - 1) & z \le 0 \end{cases}",
    ],
    "adagrad-over-time": [
        r"s_t = s_{t-1} + g_t^2, \quad w_{t+1} = w_t - \frac{\eta}{\sqrt{s_t} + \epsilon}\, g_t",
    ],
    "backpropagation": [
        r"\delta^{(L)} = f(x) - e(y)",
        r"\delta^{(k)} = \left(W^{(k+1)\top} \delta^{(k+1)}\right) \odot g'\left(a^{(k)}\right)",
        r"\nabla_{W^{(k)}} = \delta^{(k)} h^{(k-1)\top}",
    ],
    "bagging": [
        r"\mathbb{E}\left[\bar{\epsilon}^2\right] = \rho \sigma^2 + \frac{1 - \rho}{k} \sigma^2",
    ],
    "batch-norm-identity": [
        r"\hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}",
        r"y = \gamma \hat{x} + \beta",
        r"\gamma = \sqrt{\sigma^2 + \epsilon},\ \beta = \mu \Rightarrow y = x",
    ],
    "batch-norm-statistics": [
        r"\mu \leftarrow (1 - m)\,\mu + m\,\mu_B",
        r"\sigma^2 \leftarrow (1 - m)\,\sigma^2 + m\,\frac{n}{n - 1}\,\sigma_B^2",
    ],
    "batch-sizes": [
        r"w \leftarrow w - \eta\,\frac{1}{|B|} \sum_{i \in B} \nabla_w J_i(w)",
    ],
    "bias-variance": [
        r"\mathbb{E}\left[(y - \hat{f})^2\right] = \text{bias}^2 + \text{variance} + \sigma^2",
    ],
    "cifar-iterations": [
        r"J_0 = \ln 10 + \frac{\lambda}{2} \sum W^2",
        r"\mathbb{E}\left[J_0\right] = \ln 10 + \frac{\lambda}{2} \cdot 154100 \cdot 10^{-8}",
    ],
    "cifar-rate-too-low": [
        r"J = \ln 10 - \frac{1}{m} \sum_i \left(z_{i, y_i} - \bar{z}_i\right) + O(z^2)",
    ],
    "decision-boundaries": [
        r"J(W) = -\frac{1}{m} \sum_i \ln f_{y_i}(x_i) + \lambda \sum W^2",
    ],
    "dropout-masks": [
        r"\mathbb{E}_z\left[f(x, z)\right] = \sum_{z \in \{0, 1\}^H} p(z)\, f(x, z)",
    ],
    "dropout-monte-carlo": [
        r"h' = \frac{z \odot h}{1 - p}",
        r"z_j \sim \operatorname{Bernoulli}(1 - p)",
        r"\mathbb{E}[h'] = h",
    ],
    "early-stopping-as-l2": [
        r"1 - (1 - \eta c)^t \approx \frac{c}{c + 2 \lambda}, \quad \lambda = \frac{1}{2 \eta t}",
    ],
    "epsilon-and-bias-correction": [
        r"m_t = \beta_1 m_{t-1} + (1 - \beta_1)\, g_t",
        r"v_t = \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2",
        r"w_{t+1} = w_t - \eta\, \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}",
    ],
    "gradient-descent-1d": [
        r"x_{t+1} = x_t - \eta\, f'(x_t), \quad \eta_{\text{opt}} = \frac{1}{f''}",
    ],
    "hinge-and-cross-entropy": [
        r"L = \sum_{k \ne y} \max(0,\ s_k - s_y + 1)",
    ],
    "hebb": [
        r"w \leftarrow w + x\,y, \quad b \leftarrow b + y",
    ],
    "init-rules": [
        r"\operatorname{Var}(z) = n \operatorname{Var}(w) \operatorname{Var}(x)",
        r"\sigma^2_{\text{Xavier}} = \frac{1}{n}",
        r"\sigma^2_{\text{Glorot}} = \frac{2}{n_{\text{in}} + n_{\text{out}}}",
        r"\sigma^2_{\text{He}} = \frac{2}{n}",
    ],
    "initial-loss": [
        r"J_0 = -\ln \frac{1}{K} = \ln K",
    ],
    "linear-chain": [
        r"\left\| \hat{y} \right\| = c^{L-1} \left\| x \right\|, \quad W = c\, I",
    ],
    "local-minimum": [
        r"f(x) = 0.05\,x^4 - 0.5\,x^2 + 0.1\,x",
    ],
    "momentum-forms": [
        r"v_{t+1} = \rho\, v_t + \nabla f(x_t), \quad x_{t+1} = x_t - \alpha\, v_{t+1}",
        r"v_{t+1} = \rho\, v_t - \alpha\, \nabla f(x_t + \rho\, v_t)",
        r"x_{t+1} = x_t + v_{t+1} \quad \text{(Nesterov)}",
    ],
    "norms-of-weights": [
        r"\left\| w \right\|_0 = \#\{w_i \ne 0\}",
        r"\left\| w \right\|_1 = \sum |w_i|",
        r"\left\| w \right\|_2^2 = \sum w_i^2",
    ],
    "optimizers-in-a-bowl": [
        r"f(x) = \frac{1}{2}\left(x_1^2 + \kappa\, x_2^2\right)",
        r"\eta_{\text{opt}} = \frac{2}{1 + \kappa}",
    ],
    "optimizers-at-a-saddle": [
        r"f(x) = x_1^2 - x_2^2 + \frac{x_2^4}{4}",
    ],
    "optimizers-in-a-valley": [
        r"f(x) = (1 - x_1)^2 + 10\,(x_2 - x_1^2)^2",
    ],
    "penalties": [
        r"J = \frac{1}{m} \sum_i J_i + \lambda \sum W^2",
        r"\nabla = 2 \lambda W",
        r"\lambda \sum |W|",
        r"\nabla = \lambda \operatorname{sign}(W)",
    ],
    "perceptron": [
        r"w \leftarrow w + t\,x \quad \text{for a mistake}",
        r"\text{mistakes} \le \left(\frac{R}{\gamma}\right)^2",
    ],
    "perceptron-criterion": [
        r"J(w) = -\sum_{i \in M} y_i\, w^\top x_i, \quad \nabla J = -\sum_{i \in M} y_i\, x_i",
    ],
    "preprocessing": [
        r"x' = \frac{x - \mu}{\sigma}",
        r"x' = \frac{x - \min}{\max - \min}",
        r"x' = \Lambda^{-1/2} U^\top (x - \mu)",
    ],
    "schedules": [
        r"\alpha = \alpha_0 e^{-kt}, \quad \alpha = \frac{\alpha_0}{1 + kt}",
    ],
    "softmax": [
        r"f_k = \frac{e^{z_k}}{\sum_j e^{z_j}}",
        r"\frac{\partial (-\ln f_y)}{\partial z} = f - e(y)",
    ],
    "squared-error-on-sigmoid": [
        r"\frac{\partial}{\partial z} (\sigma(z) - t)^2 = 2\,(\sigma - t)\,\sigma\,(1 - \sigma)",
    ],
    "step-size": [
        r"f(x) = x_1^2 + x_1 x_2 + 4 x_2^2, \quad \eta < \frac{2}{\lambda_{\max}} = 0.24503",
    ],
    "universal-approximation": [
        r"\left| f(x) - \sum_{i=1}^H v_i\, \sigma\left(w_i^\top x + b_i\right) \right| < \epsilon",
    ],
    "update-ratio": [
        r"\frac{\left\| \eta\, \nabla W \right\|}{\left\| W \right\|} \approx 10^{-3}",
    ],
    "batch-norm-regularises": [
        r"\text{std}(\mu_B) \approx \frac{\sigma}{\sqrt{|B|}}",
    ],
    "batch-norm-training": [
        r"y = \gamma\, \frac{x - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}} + \beta",
    ],
    "class-order": [
        r"\mathbb{E}[\text{classes in a batch of 10}] = 10\,(1 - 0.9^{10}) = 6.5",
    ],
    "color-pca": [
        r"x' = x + \sum_{i=1}^{3} a_i\, s_i\, p_i, \quad a_i \sim \mathcal{N}(0, \sigma^2)",
    ],
    "correlated-inputs": [
        r"H = \frac{1}{m} X^\top X, \quad \kappa = \frac{\lambda_{\max}}{\lambda_{\min}}",
    ],
    "cross-validation": [
        r"\text{accuracy} = \frac{1}{K} \sum_{k=1}^{K} \text{accuracy}_k",
    ],
    "dead-relu": [
        r"w^\top x_i + b \le 0\ \text{for all}\ i \Rightarrow \nabla_w = 0",
    ],
    "depth": [
        r"\left\| \nabla_1 \right\| \propto 0.7^{L}",
        r"\left\| \nabla_1 \right\| \propto \left(\frac{\pi}{\pi - 1}\right)^{L/2} \text{(batch norm)}",
    ],
    "dropout-training": [
        r"h' = \frac{z \odot h}{1 - p}, \quad z_j \sim \operatorname{Bernoulli}(1 - p)",
    ],
    "early-stopping": [
        r"\bar{J}_t > (1 - \epsilon) \min_{s < t} \bar{J}_s\ \text{for 5 epochs: stop}",
    ],
    "gradient-noise": [
        r"\sigma_t^2 = \frac{\eta}{(1 + t)^{\gamma}}",
    ],
    "gradient-statistics": [
        r"\left\| \delta_{l-1} \right\| = \sqrt{n \sigma^2\, \mathbb{E}[g'^2]}\, \left\| \delta_l \right\|",
    ],
    "hard-examples": [
        r"P(i) \propto \max\left(\left(\frac{J_i}{\bar{J}}\right)^{s},\ 0.1\right)",
    ],
    "hidden-dropout-ratios": [
        r"J + 10^{-4} \sum |W| + 10^{-4} \sum W^2",
    ],
    "hidden-representation": [
        r"h = \tanh(W x + b), \quad v^\top h + c = 0",
    ],
    "hog-features": [
        r"\theta = \operatorname{atan2}(I_y, I_x), \quad r = \sqrt{I_x^2 + I_y^2}",
    ],
    "input-scaling": [
        r"\kappa = \frac{\lambda_{\max}(X^\top X)}{\lambda_{\min}(X^\top X)}",
    ],
    "l1-sparsity": [
        r"J + \lambda \sum |w_i|",
        r"w_i = 0 \iff \left| \frac{\partial J}{\partial w_i} \right| \le \lambda",
    ],
    "leaky-or-relu": [
        r"g(z) = \max(0.01 z,\ z)",
    ],
    "learning-rate-too-low-or-high": [
        r"\text{stop if}\ J_t > 3\, J_0",
    ],
    "loss-landscape": [
        r"t \mapsto J\left(w - t \left\| w \right\| \frac{\nabla J}{\left\| \nabla J \right\|}\right)",
    ],
    "many-saddles": [
        r"f(x) = \sum_i \frac{x_i^4}{4} - \frac{x_i^2}{2}, \quad 1 - \frac{2^n + 1}{3^n}",
    ],
    "mcculloch-pitts": [
        r"y = \begin{cases} 1 & \sum_i w_i x_i \ge \theta \\ 0 & \text{else} \end{cases}",
    ],
    "mean-image": [
        r"x' = x - \frac{1}{m} \sum_i x_i",
    ],
    "norm-layers": [
        r"\hat{x} = \frac{x - \mu_S}{\sqrt{\sigma_S^2 + \epsilon}}",
        r"S: \text{batch, layer, instance or group}",
    ],
    "offset-bias": [
        r"\mathbb{E}[\max(0, g)] = \frac{1}{\sqrt{2 \pi}} = 0.399, \quad g \sim \mathcal{N}(0, 1)",
    ],
    "optimizers-with-noise": [
        r"\mathbb{E}[x^2] = \frac{\eta\, \sigma^2}{c\,(2 - \eta\, c)}, \quad c = f''",
    ],
    "positive-inputs": [
        r"\frac{\partial J}{\partial w_i} = x_i \frac{\partial J}{\partial z}, \quad x_i > 0",
    ],
    "random-against-grid": [
        r"P(\text{hit}) = 1 - (1 - w)^9",
        r"\eta = 10^{u}, \quad u \sim U(-6, -3)",
    ],
    "reverse-and-forward-mode": [
        r"\frac{\partial y}{\partial x} = J_L \left( \cdots (J_3\, (J_2\, J_1)) \right) \text{(forward)}",
        r"\frac{\partial y}{\partial x} = \left( (J_L\, J_{L-1}) \cdots \right) J_1 \text{(reverse)}",
    ],
    "saturation": [
        r"\frac{\partial h_{10}}{\partial z} = \prod_{l=1}^{10} h_l\,(1 - h_l) \le 4^{-10}",
    ],
    "symmetry": [
        r"w_1 = w_2 \Rightarrow \nabla_{w_1} = \nabla_{w_2}",
    ],
    "tanh-and-sigmoid": [
        r"\tanh(z) = 2\,\sigma(2z) - 1",
    ],
    "ten-crop": [
        r"p = \frac{1}{10} \sum_{k=1}^{10} f(\text{view}_k)",
    ],
    "test-data-once": [
        r"\mathbb{E}\left[\max_k a_k\right] > \mathbb{E}[a_k]",
    ],
    "three-models": [
        r"p = \frac{1}{3}\,(p_1 + p_2 + p_3)",
    ],
    "turning-points": [
        r"f'(x) = 0, \quad f''(x) > 0: \text{minimum}, \quad f''(x) < 0: \text{maximum}",
    ],
}


def mathml(name: str) -> str:
    """The formulas of an experiment as MathML, "" if it has none.

    >>> from xpnet.lab.formulas import mathml
    >>> mathml("initial-loss")[:5]
    '<math'
    """
    known = json.loads(files("xpnet.lab").joinpath("formulas.json").read_text("utf-8"))
    return "".join(known[latex] for latex in FORMULAS.get(name, []))
