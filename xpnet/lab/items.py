"""All items of the five decks: where the lab or the library has them, and with what verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from xpnet.lab.experiment import VERDICTS, Experiment, Result


class Item(NamedTuple):
    """One thing that a slide shows, says, asks or prints.

    Attributes:
        deck: "S1" to "S5".
        slide: its title.
        what: in words.
        where: `experiment`, `experiment#first words of its checks`, a public name such as
            `xpnet.nn.Linear`, a module of `bench`, "-" for what is not to be
            reproduced, or "?" for what is missing.
    """

    deck: str
    slide: str
    what: str
    where: str

    @property
    def experiment(self) -> str | None:
        """The name of the experiment that has it."""
        name = self.where.partition("#")[0]
        return None if name in ("-", "?") or "." in name else name

    def verdict(self, found: Mapping[str, tuple[Experiment, Result]]) -> str:
        """The worst of its checks; `library`, `missing` or `none` where there is no experiment, `not run`
        where it needs data that were not given.

        An item that names no checks shares its experiment with others, whose slips are theirs.
        """
        if self.experiment is None:
            return {"-": "none", "?": "missing"}.get(self.where, "library")
        if self.experiment not in found:
            return "not run"
        result = found[self.experiment][1]
        start = self.where.partition("#")[2]
        if not start:
            return "agrees" if result.ok else "DIFFERS"
        verdicts = {check.verdict for check in result.checks if check.what.startswith(start)}
        return next(v for v in VERDICTS if v in verdicts)


def items() -> list[Item]:
    """In the order of the slides.

    >>> from xpnet.lab.items import items
    >>> items()[2]
    Item(deck='S1', slide='Mandatory exercise 1', what='histograms of gradients', where='hog-features')
    """
    found, deck, slide = [], "", ""
    for line in _ITEMS.strip().splitlines():
        if "|" not in line:
            deck = line
            continue
        title, what, where = line.split("|", 2)
        slide = slide if title == _DITTO else title
        found.append(Item(deck, slide, what, where))
    return found


_DITTO = '"'  # the slide of the line above
_ITEMS = """
S1
Mandatory exercise 1|softmax classifier|xpnet.functional.cross_entropy
"|2-layer net with backpropagation|backpropagation
"|histograms of gradients|hog-features
"|tune on validation data|xpnet.search.search
The feedforward net problem|total loss J = Ji + lambda Jr|penalties
The error surface of a linear neuron|a quadratic bowl|optimizers-in-a-bowl
"|which direction for an ellipse?|optimizers-in-a-bowl#SGD: signs
Convergence of batch gradient descent|oscillation at a high rate|step-size
Batch gradient descent|all samples before an update|batch-sizes
"|lambda/2m over the weights, index s_{j+1}|penalties#S1: sum of squares
Mini batch gradient descent|np.random.choice, with replacement|batch-sizes#with replacement
"|online learning, batch 1|batch-sizes#updates per epoch, stochastic
"|sizes 32, 64, 128|xpnet.data.DataLoader
Sigmoid activation|g' = g (1 - g)|activations#sigmoid' =
"|sigmoids kill gradients|saturation#10 sigmoids
"|not zero-centred: zig-zag|positive-inputs
"|somewhat expensive to compute|activation-costs
Tanh activation|tanh and its derivative|activations#tanh' =
"|scaled version of the sigmoid|activations#tanh z =
"|preferred to the sigmoid|tanh-and-sigmoid
ReLU activation|ReLU and its derivative|activations#derivative of ReLU
"|does not saturate|saturation#10 ReLUs
"|converges fast|tanh-and-sigmoid#ReLU
"|can die|dead-relu#bias -10, ReLU
"|be careful with the learning rate|dead-relu#rate 5
Leaky ReLU activation|max(0.01 z, z)|activations#derivative of leaky ReLU
"|will not die|dead-relu#bias -10, leaky
"|not consistently better|leaky-or-relu
ELU activation|alpha (exp z - 1)|activations#derivative of ELU, alpha
"|will not die|activations#derivative of ELU
Maxout activation|max(w1 z + b1, w2 z + b2)|activations#maxout(-z
"|generalises ReLU and leaky ReLU|activations#maxout(0 z
"|doubles the parameters|activations#parameters of maxout
Activations for output vs. hidden layers|softmax, or sigmoids one against all|softmax#binary cross-entropy, t
Review: Cost function for softmax neural networks|softmax|softmax#sums of softmax
"|cost|softmax#cross-entropy of logits
Question|loss for n = 3 classes|initial-loss#initial loss, K = 3
Guidelines for activation function|monitor dead units|dead-relu
Data preprocessing|101 and 99, scaled to zero mean|input-scaling#'scale to zero mean'
"|0.2 and 10, to unit variance|input-scaling#condition number, 0.2
Common normalization|standardise, store mu and sigma|preprocessing#new data
Consider whitening the data|PCA whitening|preprocessing#whitened
Common normalization for image data|mean image|mean-image#mean image
"|channel means, 3 values|mean-image#numbers stored: channel
Weight initialization|avoid zeros|symmetry
"|Var(z) = n Var(w) Var(x)|init-rules#variance of xavier
"|Xavier|init-rules#variance of xavier
"|rand(n) sqrt(2/n) for ReLU, credited to Glorot|init-rules#S1's np.random.rand
Batch normalization|covariate shift, 'mean and variance of the weights'|covariate-shift
"|before the nonlinearity|batch-norm-training
"|makes the input Gaussian|batch-norm-identity#skewness
"|gamma and beta|batch-norm-identity#gamma = sqrt
"|speeds up and improves|batch-norm-training
Batch normalization: training|the algorithm|batch-norm-identity#gradient of batch norm
Batch normalization: test time|entire training set|batch-norm-statistics#exact
"|running average|batch-norm-statistics#running
Optimizing hyperparameters|test data used once|test-data-once
Search strategy: coarse-to-fine|few epochs, then longer|coarse-to-fine
"|log space|random-against-grid#10^U
Coarse search|3 x 3 x 4|grid-search#networks trained
Consider a random grid|10^uniform|coarse-to-fine
"|grid and random layout|random-against-grid#different values
Monitor the loss function|too low, good, too high|learning-rate-too-low-or-high
Debug the code|overfit a subset|overfit-20
Study outputs during training|rate 0.05, penalty 0.6: nan|cifar-iterations#rate 0.05
"|2.3028 to 1.5013 in 900 iterations|cifar-iterations#rate 1e-3
Track ratio of weight updates/weight magnitudes|about 1e-3|update-ratio
"|0.0002 / 0.02|update-ratio
S2
Biological Inspiration|neurons of the cortex|-
Biological Neuron to Artificial Neuron|artificial neuron|mcculloch-pitts
Benefits of ANN|fault tolerance|dropout-training#loss of accuracy with 75 %
Short History|1940 to 1985|-
McCulloch-Pitts Neurons|blueberry table|mcculloch-pitts#blueberry
MCP Neurons: Logic gates|AND, OR, NOT|mcculloch-pitts#AND
"|other weights, same result|mcculloch-pitts#single units on the grid that compute AND
MCP Neurons: XOR|one unit cannot|mcculloch-pitts#single units on the grid that compute XOR
MCP Neurons: Limitation of single Neuron|plots in two dimensions|mcculloch-pitts
MCP Neuron: XOR|(x1 + x2)(not x1 + not x2)|mcculloch-pitts#XOR as (x1
"|the other form|mcculloch-pitts#XOR as x1 not
MCP Neurons: XOR|two MCP neurons|mcculloch-pitts#units for XOR
Hebb's rule|w += x y, b += y|hebb
Hebb's rule: AND function|binary form|hebb#AND, binary
"|why bipolar?|hebb#AND, binary: mistakes
Hebb's rule: AND function, bi-polar form|trace of the weights|hebb#AND, bipolar: weights after pair 4
"|first row as printed|hebb#AND, bipolar: changes by the first row
"|third row as printed|hebb#AND, bipolar: weights after pair 3
"|separating lines|hebb#AND, bipolar: line
Hebb's rule: AND function|bipolar targets, binary inputs|hebb#binary inputs
Hebb's rule: Failure cases|three inputs|hebb#three inputs: mistakes left
"|first row as printed|hebb#three inputs: weights after pair 1
Perceptron|f = g(w.x)|xpnet.classic.predict
"|sides of the hyperplane|perceptron-criterion#answers
"|error function of AND|perceptron#AND, bias -1
Perceptron: Learning algorithm|random pick, add, subtract|perceptron#AND: different first
Perceptron: Learning|convergence|perceptron#AND: share
Perceptron criteria function|J(w) and its gradient|perceptron-criterion#dJ/dw
"|w + alpha dJ/dw|perceptron-criterion#sign of the change
Supervised Learning|X and y|xpnet.data.Dataset
ARTIFICIAL NEURON|pre-activation|xpnet.nn.Linear
Activation functions|linear|activations#derivative of identity
"|sigmoid|activations#derivative of sigmoid
"|tanh|activations#derivative of tanh
"|ReLU strictly increasing|activations#ReLU: growth
"|ReLU: sparse activities|offset-bias#share of outputs that are exactly 0: ReLU
Single layer neuron|one hidden layer|universal-approximation
Single layer neuron: Softmax Activation|softmax|softmax#the probability of three
Single layer neuron|feature transformation|hidden-representation
Capacity of Neural Network|not linearly separable problems|hidden-representation#linear classifier
"|combination of linear boundaries|hidden-representation#3 hidden
"|universal approximation|universal-approximation
Multi-layer Neural Network|L hidden layers|backpropagation#loss
Multi-layer Neural Network: Deep Networks|VGG, ResNet-50|xpnet.nn.Conv2d
Empirical Risk Minimization: Machine Learning|mean loss|batch-sizes
Loss functions: Mean square error|(f - y)^2|xpnet.functional.mse_loss
Loss functions : Cross entropy|one-hot table|softmax#one-hot
"|-log f_y|softmax#cross-entropy of labels
Empirical Risk Minimization|maximum likelihood|softmax#output gradient
Finding the minimum of a function|f' = 0|turning-points#f' at
Soln: Finding the minimum or maximum of a function|f'' > 0: minimum, otherwise maximum|turning-points#x^4
"|f'' = 0: neither|turning-points#x^3
Gradients of scalar functions with multi-variate inputs|gradient|backpropagation#gradient check of all
Gradient descent/ascent (multivariate)|ascent|turning-points#gradient ascent
The Approach of Gradient Descent|sign of the derivative|gradient-descent-1d#sign
"|step size eta|gradient-descent-1d#rate
Influence of step size example|f from (3, 3)|step-size
Gradient Descent Algorithm|until a step is below 1e-8|gradient-descent-1d#rate 0.1: steps
Multilayer NN -SGD|an update for each example|batch-sizes#updates per epoch, stochastic
Gradient of Activation Functions|g' of linear, sigmoid, tanh|activations#derivative
"|figure of the derivatives|activations
Output gradient|-(e(y) - f(x))|softmax#output gradient
Hidden layer gradient|chain rule|backpropagation#gradient of W1
Backpropagation|the algorithm|backpropagation#gradient of
Regularization|L2, weights only|penalties#gradient of S2's
"|Gaussian prior|penalties#largest error of the mode under the Gaussian
"|lambda = 0.001, 0.01, 0.1|decision-boundaries
"|L1, sign(W)|penalties#gradient of L1
"|L1 pushes weights to exactly 0|l1-sparsity#zeros by L1
"|Laplacian prior|penalties#largest error of the mode under the Laplace
Regularization-Bias Variance|trade-off|bias-variance#variance
"|generalisation error: bias^2 + variance|bias-variance#error on new data
"|order 1, 3, 5|bias-variance#the order
Data preprocessing: Z score|zero mean, unit variance|preprocessing#scaled
Data preprocessing: Whitening|PCA|preprocessing#whitened
Data preprocessing: Min Max Scaling|to [0, 1]|preprocessing#min-max
Weight initialization: Zero/Constant Weights|outputs are the same|symmetry
Weight initialization: random number|0.01 randn|init-rules#variance of normal
"|printout of 0.01|activation-statistics#std of layers 1 to 10, tanh, std 0.01
"|plot of the layers' means|activation-statistics#mean
"|histograms|activation-statistics
"|Q: what do the gradients look like?|gradient-statistics#RMS gradient
"|printout of 1.0|activation-statistics#std of layers 1 to 10, tanh, std 1
"|'gradients will be all zero'|gradient-statistics#growth
Weight initialization: Xavier|printout|activation-statistics#std of layers 1 to 10, tanh, Xavier
Weight initialization: Xavier-ReLU|printout|activation-statistics#std of layers 1 to 10, ReLU, Xavier
"|He et al.|activation-statistics#std of layers 1 to 10, ReLU, He
Weight initialization: Uniform|sqrt 6 / sqrt(H_k + H_k-1)|init-rules#largest |w| of glorot
Optimization|vanilla gradient descent|gradient-descent-1d#rate 0.3: steps
Problems with SGD|condition number, jitter|optimizers-in-a-bowl
"|local minima|local-minimum
"|saddle point|optimizers-at-a-saddle
"|noisy gradients|optimizers-with-noise
SGD + Momentum|v = rho v + gradient|momentum-forms#xpnet's momentum
"|x += learning_rate * dx|momentum-forms#plain SGD
"|x += learning_rate * vx|momentum-forms#direction
"|velocity, 'a running mean'|momentum-forms#velocity
SGD with Momentum|local minima, saddle points, conditioning, noise|local-minimum#momentum
Nesterov Momentum|look-ahead|momentum-forms#xpnet's Nesterov
AdaGrad|update|epsilon-and-bias-correction#AdaGrad, epsilon outside
"|Q: what happens with AdaGrad?|adagrad-over-time#AdaGrad, constant
RMSProp|decay_rate|epsilon-and-bias-correction#RMSProp
Adam|bias correction, t from 0|epsilon-and-bias-correction#Adam's first step
Choice of Learning rate|which is best?|learning-rate-too-low-or-high
Learning rate decay|step, exponential, 1/t|schedules
"|loss with decay steps|optimizers-with-noise#SGD, rate divided
Cross validation:train test split|train and test|test-data-once
Cross validation: held-out|hold-out|cross-validation
Cross validation: K-fold|five folds|cross-validation#folds
"|final accuracy = average accuracy|cross-validation#test accuracy
Cross validation: Over fitting|figures|overfitting
Cross validation: tuning hyperparameter|overfit 20 pictures|cifar-overfit-20
"|rate 1e-6: 2.302576 to 2.302420|cifar-rate-too-low#cost
"|accuracy 20 %, what's up with that?|cifar-rate-too-low#validation
"|rate 1e6: nan|cifar-rate-too-high#rate 1e6
"|1e-6 in its code|learning-rate-too-low-or-high#the run that prints nan
"|rate 3e-3: inf|cifar-rate-too-high#rate 3e-3
"|rough range 1e-3 to 1e-5|coarse-to-fine#S2's learning rates
Cross-validation strategy|3 times the original cost|learning-rate-too-low-or-high#too high
Cross validation: tuning hyperparameter-Grid Search|grid|grid-search
"|coarse, 100 trials|cifar-coarse-search
"|fine, 22 lines|cifar-fine-search
"|53 %|cifar-53-percent
Cross validation: Early stopping in NN|figure|early-stopping#validation loss, last
"|H2O's rule|early-stopping#H2O's rule
Dropout|hidden_dropout_ratio [0.2, 0.3], l1 = l2 = 1e-4|hidden-dropout-ratios
Batch Normalization|unit Gaussians|batch-norm-identity#variance of each
"|higher rates, less dependence on initialisation|batch-norm-training
"|a form of regularisation|batch-norm-regularises
Regularization: Dropout|set neurons to zero|dropout-monte-carlo#share of zeros
"|redundant representation|dropout-training#the same with dropout
Dropout: Test time|the integral|dropout-monte-carlo#mean of 10000
Recommended Settings|Adam 1e-3, ReLU first|tanh-and-sigmoid
S3
Recap: Efficient Factoring Algorithms|reverse and forward|reverse-and-forward-mode
Recap: Automatic Differentiation|modules|xpnet.nn.Module
Correction: Implementing Softmax Correctly|trick 1|softmax#cross-entropy of logits
"|trick 2, a fixed vector b|softmax#softmax of (1, 2, 3)
Choosing the Right Learning Rate|1/f''|gradient-descent-1d#Newton's
"|index tau - 1|gradient-descent-1d#index of
Separate, Adaptive Learning Rates|gradients differ by layer|gradient-statistics
Better Adaptation: RMSProp|mean square 0.9, 0.1|epsilon-and-bias-correction#RMSProp
"|sign of the gradient|gradient-descent-1d#sign
Other Optimizers|AdaGrad, AdaDelta, Adam|epsilon-and-bias-correction
Behavior in a Long Valley|animation|optimizers-in-a-valley
Behavior around a Saddle Point|animation|optimizers-at-a-saddle
Reducing the Learning Rate|by 10, 1 to 3 times|schedules#on a plateau
"|not too soon|optimizers-with-noise#reduced too soon
Shuffling the Examples|another class than before|class-order
"|large errors more often, outliers|hard-examples
"|shuffle|class-order#shuffled
Data Augmentation|crop, zoom, flip|augmentation#zoom
"|Color PCA|color-pca
"|crops and flips in testing|ten-crop
"|several ColorPCA variations, about 1 %|cifar-test-time
Practical Advice: Apply All the Augmentations|figure|augmentation
Normalization|updates of the same sign|positive-inputs#positive inputs: share
Normalizing the Inputs|zero mean, unit variance|preprocessing
"|fastest if uncorrelated|correlated-inputs#whitened
Choosing the Right Sigmoid|tanh converges faster|tanh-and-sigmoid
"|1.7159 tanh(2x/3)|activations#LeCun's tanh at -1
"|variance close to 1|activations#LeCun's tanh: variance
Usage|output nodes|xpnet.nn.Sigmoid
"|piecewise linear tanh|activations#derivative of hard
Effect of Sigmoid Nonlinearities|too small: nonlinearity lost|activation-statistics
"|saturate|saturation
Another Note on Error Functions|squared error on a sigmoid|squared-error-on-sigmoid
Extension: ReLU|constant factor|saturation#10 ReLUs
"|half the memory|activation-costs#memory
"|stuck at zero|dead-relu#bias -10: share
"|offset bias|offset-bias#mean output of ReLU
Further Extensions|leaky: weaker offset|offset-bias#mean output of leaky
"|ELU: no offset bias|offset-bias#mean output of ELU
"|ELU's cases|activations#ELU at
Initializing the Weights|variance 1/n_in|init-rules#variance of lecun
"|1.7159 (2/3 x)|activations#LeCun's tanh at 2
Historical Sidenote|Torch's rule|init-rules#Torch's rule: std after
"|sigma^2 as standard deviation|init-rules#Torch's rule: standard deviation
Analysis (cont'd)|Glorot|init-rules#variance of glorot
"|backward: 1/n_out|init-rules#variance 1/n_out
Extension to ReLU|He|init-rules#variance of he
Batch Normalization|moving average at test time|batch-norm-statistics#running
Dropout|'probability that the unit was set to zero'|dropout-masks#mean of all networks, p = 0.2
References and Future Reading|Saxe: orthogonal|init-rules#orthogonal
S4
Gradient descent|algorithm 1|batch-sizes
Stochastic gradient descent|i ~ Uniform|batch-sizes#with replacement
"|1 and N updates an epoch|batch-sizes#updates per epoch
"|J a sum, its gradient a mean|batch-sizes#gradient of S4's objective
"|faster by epoch|batch-sizes#error after 1
"|shuffle in each epoch|batch-sizes#shuffled
"|many saddle points|many-saddles
"|momentum, NAG|momentum-forms#xpnet's
"|Adagrad, epsilon inside|epsilon-and-bias-correction#AdaGrad, epsilon inside
"|larger updates for infrequent parameters|adagrad-over-time#infrequent
"|Adam|epsilon-and-bias-correction#Adam: first
"|Adam might be the best overall|best-overall
"|curriculum learning|curriculum
"|early stopping|early-stopping#patience
"|gradient noise|gradient-noise
Dropout regularization|dropping units|dropout-monte-carlo
"|L0, L1, L2|norms-of-weights
"|reduced by a factor p|dropout-masks#test phase
"|doubles the iterations|dropout-training#epochs to
"|time for each epoch is less|dropout-training#time of an epoch
"|2^H models|dropout-masks#number of networks
"|only when overfitting|dropout-training#30 % wrong
Weight initialization|1.5 I and 0.5 I|linear-chain
"|variance|init-rules
"|Xavier, n/2 for ReLU|activation-statistics#std of layers 1 to 10, ReLU, He
"|four histograms|activation-statistics
Hyperparameter tuning|layers, dropout, ...|xpnet.search.Space
"|random, log scale|random-against-grid
Batch normalization|landscape nicer|loss-landscape
"|algorithm|batch-norm-identity#gradient of batch norm
Training neural networks|use Adam, Xavier, ...|-
"|train small, large, test|overfit-20
S5
Logistic regression|loss of a sample, its sign|softmax#binary cross-entropy of p
"|cost, no brackets|softmax#binary cost
Softmax formulation|three neurons|softmax#the probability of three
Loss functions|cross-entropy, hinge|hinge-and-cross-entropy#hinge of three
"|hinge saturates|hinge-and-cross-entropy#its gradient there
"|softmax until zero|hinge-and-cross-entropy#trained
Problem of positive output|zig-zag|positive-inputs
Maxout units|maxout|activations#maxout
Data pre-processing|mean image, channel mean|mean-image
All weights to zero|symmetry|symmetry#zero
Small random numbers|forward and backward|gradient-statistics
Big random numbers|saturation|activation-statistics
How to solve this?|variance|init-rules#variance of xavier
ReLU kills half of the data|2/n, a huge difference|activation-statistics#std of layers 1 to 10, ReLU, He
Our goal|unit Gaussians|batch-norm-identity#variance of each
BN layer|before the activation|batch-norm-training
"|undo the normalisation|batch-norm-identity#gamma = sqrt
"|dimensions separately|correlated-inputs#condition number
"|biases cancelled|batch-norm-identity#largest effect of a bias
BN: train vs test time|running averages|batch-norm-statistics#running
"|one image at a time|batch-norm-statistics#one picture
BN: what do you get?|very deep nets, stable gradients|depth#batch norm
"|range of hyperparameters|batch-norm-training
BN: drawbacks|small batches|norm-layers#validation loss at batch size 2
Other normalizations|layer, instance, group|norm-layers
Regularization|lower validation, higher training error|hidden-dropout-ratios
Overfitting and underfitting|figure|overfitting
Weight decay|lambda theta^T theta|penalties#weight decay: the step
Data augmentation|invariance|augmentation
"|1, 2, 10 images|ten-crop#views of a picture
Data augmentation: random crops|brightness and contrast|augmentation#contrast
"|L in [256, 480]|augmentation#L in [256, 480]
"|N scales|ten-crop#shorter side
Data augmentation|the same for two networks|augmentation#same epoch
Early stopping|training time is a hyperparameter|early-stopping-as-l2
Bagging and ensemble methods|three models|three-models
"|another optimizer or objective|three-models
"|error decreases 'linearly'|bagging#squared error, k = 1, 2, 5, 10, 20, correlation 0.0
"|k data sets|bagging
Dropout|half the capacity|dropout-training#half the capacity
"|ensemble with shared parameters|dropout-masks#softmax: normalised
Dropout: test time|E[z]|dropout-masks#two inputs
Dropout: verdict|larger models, more training|dropout-training#epochs to
Why not only more Layers?|optimization becomes hard|depth#without
"""
